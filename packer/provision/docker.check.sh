#!/bin/sh
# Docker starts by itself and runs a container. Its file system is one program of the machine's
# own, linked statically, so that no registry is asked.
set -eu
. ./report.sh

same docker-enabled enabled "$(systemctl is-enabled docker 2>&1)"
[ "$KM_PHASE" != build ] || exit 0

program=/sbin/ldconfig
[ ! -e /sbin/ldconfig.real ] || program=/sbin/ldconfig.real # Ubuntu's ldconfig is a script
tag=kontain-proof-$$
trap 'docker image rm -f "$tag" > /dev/null 2>&1' EXIT
if told=$(tar -C / -ch ".$program" | docker import - "$tag" 2>&1 > /dev/null &&
    docker run --rm "$tag" "$program" --version 2>&1 | head -n 1); then
    ok docker-container "$told"
else
    failed docker-container "$(echo "$told" | tail -n 1)"
fi
