#!/bin/sh
# The image brought nothing of the machine that it was built on. Looked at on the first boot: what
# is older than the boot was in the image. (cloud-init was told to leave strange host keys alone.)
set -eu
. ./report.sh
[ "$KM_PHASE" = boot ] || exit 0

boot=$(sed -n 's/^btime //p' /proc/stat)

older() { # of the paths given, those that were there before the boot
    for path in "$@"; do
        [ ! -e "$path" ] || [ "$(stat -c %W "$path")" -ge "$boot" ] || printf '%s ' "$path"
    done
}

same no-host-keys "" "$(older /etc/ssh/ssh_host_*)"
# shellcheck disable=SC2046  # no such path holds a blank
same no-authorized-keys "" "$(older /root/.ssh/authorized_keys \
    $(find /home -path '*/.ssh/authorized_keys' ! -path '/home/vagrant/*'))"
same no-private-keys "" "$(find /root /home /etc/ssh -name 'id_*' ! -name '*.pub' ! -newermt "@$boot")"
if [ "$(stat -c %Y /etc/machine-id)" -ge "$boot" ]; then
    ok own-machine-id "made at this boot"
else
    failed own-machine-id "brought by the image"
fi
same one-cloud-init-instance 1 "$(find /var/lib/cloud/instances -mindepth 1 -maxdepth 1 | wc -l)"
same no-old-logs "" "$(find /var/log -type f -size +0 ! -newermt "@$boot")"
same no-history "" "$(find /root /home -name '.*_history' -size +0)"
same no-package-lists "" "$(find /var/lib/apt/lists -type f -name '*_Packages*')"
same no-leftovers "" "$(find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -newermt "@$boot")"
same no-builder "" "$(if [ -n "$KM_BUILDER" ]; then getent passwd "$KM_BUILDER" || true; fi)"
