#!/bin/sh
# Guests of KVM on an Intel VM of Azure: kvm_intel's use of Hyper-V's enlightened VMCS breaks
# Kontain's monitor (kontainapp/km#1600). Where the module is not loaded the line means nothing.
set -eu
[ "$KM_CLOUD" = azure ] || exit 0

install -d -m 0755 /etc/modprobe.d
echo 'options kvm_intel enlightened_vmcs=N' > /etc/modprobe.d/60-kontain-nested.conf
