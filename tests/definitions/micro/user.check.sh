#!/bin/sh
# The user is there and may do as root what he wants.
set -eu
. ./report.sh

same user-sudo 0 "$(su "$KM_USER" -c 'sudo -n id -u')"
