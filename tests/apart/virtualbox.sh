#!/bin/sh
# VirtualBox, in the root $1, imports $BOX/box.ovf. What it tells of the VM and what is on its disk come to $OUT.
set -eu
mkdir "$1/box"
cp "$BOX"/* "$1/box"
chroot "$1" env HOME=/root sh -eu -c '
    VBoxManage import /box/box.ovf --vsys 0 --vmname imported
    VBoxManage showvminfo imported --machinereadable > /box/told
    VBoxManage clonemedium disk "/root/VirtualBox VMs/imported/box-disk001.vmdk" /box/disk.raw --format RAW
'
cp --sparse=always "$1/box/told" "$1/box/disk.raw" "$OUT"
