#!/bin/sh
# Core dumps land in the folder of the program that crashed; again after each boot.
set -eu

mkdir -p /etc/sysctl.d
echo 'kernel.core_pattern = core_%P' > /etc/sysctl.d/60-core-pattern.conf
sysctl -q -p /etc/sysctl.d/60-core-pattern.conf
