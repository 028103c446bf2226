#!/bin/sh
# Core dumps land in the folder of the program that crashed, under its process id: jobs collect
# them. apport would set the pattern again at each boot.
set -eu

echo 'kernel.core_pattern = core_%P' > /etc/sysctl.d/60-core-pattern.conf
if systemctl list-unit-files apport.service 2> /dev/null | grep -q '^apport'; then
    systemctl disable --now apport
fi
sysctl -q -p /etc/sysctl.d/60-core-pattern.conf
