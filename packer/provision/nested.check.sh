#!/bin/sh
# On Azure kvm_intel is told not to use the enlightened VMCS, and where it is loaded it does not.
set -eu
. ./report.sh
[ "$KM_CLOUD" = azure ] || exit 0

same nested "options kvm_intel enlightened_vmcs=N" "$(cat /etc/modprobe.d/60-kontain-nested.conf 2> /dev/null)"
state=/sys/module/kvm_intel/parameters/enlightened_vmcs
[ "$KM_PHASE" = build ] || [ ! -e "$state" ] || same nested-in-force N "$(cat "$state")"
