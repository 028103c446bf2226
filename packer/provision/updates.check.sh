#!/bin/sh
# Nothing is upgraded by itself, after a boot too.
set -eu
. ./report.sh

running=
for unit in apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service; do
    ! systemctl is-active --quiet "$unit" || running="$running $unit"
done
same no-updates "" "$running"
