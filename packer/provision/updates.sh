#!/bin/sh
# Nothing is installed or upgraded by itself: a job's apt would wait for it, and the kernel stays.
set -eu

for unit in apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service; do
    ! systemctl cat "$unit" > /dev/null 2>&1 || systemctl disable --quiet --now "$unit"
done
