#!/bin/sh
# The user can do as root what he wants, and use docker, and nobody can guess a password.
set -eu
. ./report.sh

if told=$(visudo -c 2>&1); then ok sudoers "all files parse"; else failed sudoers "$told"; fi
if su "$KM_USER" -c "sudo -n true" 2> /dev/null; then
    ok user-sudo "$KM_USER, without a password"
else
    failed user-sudo "$KM_USER is asked for a password"
fi
case " $(id -nG "$KM_USER") " in
    *" docker "*) ok user-docker "$KM_USER is in the group" ;;
    *) failed user-docker "$KM_USER is not in the group" ;;
esac
same user-password L "$(passwd --status "$KM_USER" | cut -d ' ' -f 2 | sed 's/^LK$/L/')" # Fedora's word is LK
