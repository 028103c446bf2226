#!/bin/sh
# Make a bootable disk (BIOS, ext4, serial console) out of Debian or Ubuntu packages.
# It needs no loop device, no KVM, and no root where user namespaces are allowed. Whoever runs it
# gives it a mount namespace of its own: what is mounted for the packages' scripts goes with it.
#
# usage: bootstrap.sh SUITE SOURCES APTCONF PACKAGES
#   SOURCES   a file of apt sources        PACKAGES  names, separated by commas
#   APTCONF   a file of apt settings
# It writes disk.qcow2, vmlinuz and packages.txt into the current folder, and nothing elsewhere.
set -eu
suite=$1 sources=$2 aptconf=$3 packages=$4
PATH=$PATH:/usr/sbin:/sbin  # a user without root has none of these, and mke2fs is there
here=$(dirname "$(realpath "$0")")

# Whoever runs this, nothing of it is left lying about when it is stopped.
trap 'rm -rf root disk.raw core.img load.cfg' EXIT
trap 'trap "" TERM; kill 0; exit 1' INT TERM HUP

# In the background, since a shell hears of a signal only when its foreground program has ended.
mmdebstrap --mode=root --variant=apt --format=directory \
    --include="$packages" \
    --aptopt="$aptconf" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt=force-unsafe-io \
    --essential-hook="$here/initramfs.sh" \
    --customize-hook="$here/customize.sh" \
    "$suite" root "$sources" &
wait $!

# shellcheck disable=SC2016  # the braces are dpkg-query's own
chroot root dpkg-query -W -f '${Package} ${Version}\n' > packages.txt
cp -L root/vmlinuz vmlinuz

echo "making the disk"
size=$((6 * 1024 * 1024 * 1024))
truncate -s "$size" disk.raw
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q disk.raw
mke2fs -q -t ext4 -L root -m 1 -E offset=1048576 -d root disk.raw "$(((size - 1048576) / 1024))k"

# GRUB goes between the boot sector and the first partition, and reads its menu from the disk.
cat > load.cfg << 'EOF'
search --no-floppy --label root --set=root
set prefix=($root)/boot/grub
configfile /boot/grub/grub.cfg
EOF
grub-mkimage -O i386-pc -o core.img -p /boot/grub -c load.cfg \
    biosdisk part_msdos ext2 search search_label configfile normal linux serial terminal echo boot
dd if=/usr/lib/grub/i386-pc/boot.img of=disk.raw bs=440 count=1 conv=notrunc status=none
dd if=core.img of=disk.raw bs=512 seek=1 conv=notrunc status=none

qemu-img convert -O qcow2 disk.raw disk.qcow2
