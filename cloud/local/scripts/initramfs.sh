#!/bin/sh
# Before the kernel is installed: an initramfs with what a VM's disk needs and no more,
# since one for any machine takes seconds longer to unpack.
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=zstd\nFSTYPE=ext4\n' > "$1/etc/initramfs-tools/conf.d/vm"
printf '%s\n' virtio_pci virtio_blk virtio_scsi sd_mod ext4 crc32c > "$1/etc/initramfs-tools/modules"
