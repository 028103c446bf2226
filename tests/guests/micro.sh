#!/usr/bin/env bash
# Builds the micro guest, which stands in for a full cloud image and boots in seconds: Debian's
# cloud kernel, busybox, and the real OpenSSH, sudo, useradd, curl, sed, setpriv and jq. How it behaves
# is in micro/.
#
#   micro.sh OUT.qcow2 [KERNEL]
#
# KERNEL is the package that depends on the newest kernel: linux-image-cloud-amd64, which boots fastest, or
# linux-image-amd64, which has the drivers of VirtualBox's disks and network too.
#
# Needs Debian's apt, and cpio e2fsprogs fdisk grub-common grub-pc-bin kmod lz4 qemu-utils;
# fakeroot too, unless run by root.
set -euo pipefail

# The guest's files belong to its root, and sudo is setuid, whoever builds it.
[ "$(id -u)" = 0 ] || exec fakeroot bash "$0" "$@"
umask 022

out=$(realpath -m "${1:?usage: micro.sh OUT.qcow2 [KERNEL]}")
kernel=${2:-linux-image-cloud-amd64}
micro=$(dirname "$(realpath "$0")")/micro
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debs=$work/debs tree=$work/tree initrd=$work/initrd root=$work/root disk=$work/disk.raw
mkdir "$debs" "$tree" "$initrd" "$root"

packages=(
    bash busybox curl dash jq libnss-myhostname openssh-client openssh-server openssh-sftp-server passwd sed sudo util-linux
)
# Of those that busybox has as well: its sed knows no /x/I, its setpriv no --reuid. Vagrant speaks bash.
programs=(
    bin/{bash,busybox,dash,sed}
    usr/bin/{curl,jq,scp,setpriv,ssh-keygen,sudo}
    usr/lib/openssh/sftp-server
    usr/sbin/{groupadd,sshd,useradd,userdel,usermod}
)
# Loaded by name at run time, so no program links them.
plugins=(
    lib/x86_64-linux-gnu/security/pam_permit.so
    usr/lib/x86_64-linux-gnu/libnss_myhostname.so.2
    usr/libexec/sudo/sudoers.so
)
# For the disk, a seed (virtio disk or IDE CD), the network, entropy and the power button.
modules=(virtio_pci virtio_blk virtio_net virtio_rng ata_piix sd_mod sr_mod isofs evdev button)
[ "$kernel" = linux-image-cloud-amd64 ] || modules+=(ext4 crc32c_generic ahci e1000)

# Packages. The archive's metadata names more libraries than we run (perl's, for debconf);
# what is really linked is picked from the unpacked tree below.
kernel=$(apt-cache depends --important "$kernel" | awk '$1 == "Depends:" { print $2 }')
mapfile -t libraries < <(
    apt-cache depends --recurse --important "${packages[@]}" | grep -E '^(lib|zlib)' | grep -v perl | sort -u
)
# As root, apt would download as a user who may not enter our directory.
download() { (cd "$debs" && apt-get -qq -o APT::Sandbox::User=root download "$@"); }
download "$kernel" "${packages[@]}" "${libraries[@]}"
for deb in "$debs"/*.deb; do
    dpkg-deb -x "$deb" "$tree"
done
# The guest's own scripts run in this one, which starts at once but takes its own sed for any other,
# whatever the PATH says. Everybody else gets dash and the busybox that looks for programs as dash does.
download busybox-static
static=$work/busybox
dpkg-deb --fsys-tarfile "$debs"/busybox-static_*.deb | tar -xO ./bin/busybox >"$static"
chmod 755 "$static"

# The initrd: the modules, and the order in which they need each other.
mkdir "$initrd"/{bin,dev,modules,proc,root,sys}
cp "$static" "$initrd/bin"
install "$micro/initrd-init" "$initrd/init"
version=$(basename "$tree"/lib/modules/*)
depmod -b "$tree" "$version"
for module in "${modules[@]}"; do
    modprobe -d "$tree" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
    cp "$path" "$initrd/modules"
    basename "$path"
done >"$initrd/modules/order"

# The root. All bin directories are one, so that a program answers to /sbin/NAME and /usr/bin/NAME.
mkdir -p "$root"/{boot/grub,dev,etc/{micro.d,sudoers.d,sysctl.d,systemd/system},home,mnt,opt,proc,run,sys,tmp} \
    "$root"/usr/{bin,lib/micro,lib64,local/{bin,sbin}} "$root"/var/{lib/cloud,log,tmp}
ln -s bin "$root/usr/sbin"
ln -s usr/{bin,sbin,lib,lib64} "$root"
ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/usr/lib64"
install -d -m 700 "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"

# The tree's own loader tells which libraries are linked. It falls back on the host's for want of one,
# and must not look in the tree for fakeroot's.
loader=$tree/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libs=$tree/lib/x86_64-linux-gnu:$tree/usr/lib/x86_64-linux-gnu:$tree/usr/libexec/sudo
for file in "${programs[@]}" "${plugins[@]}"; do
    echo "$file"
    LD_PRELOAD="" "$loader" --library-path "$libs" --list "$tree/$file" | awk -v tree="$tree/" '
        $2 != "=>" { next }
        index($3, tree) != 1 { print "no package has " $1 >"/dev/stderr"; exit 1 }
        { print substr($3, length(tree) + 1) }'
done | sort -u | tar -C "$tree" -chT - | tar -C "$root" -x --keep-directory-symlink

cp -R "$micro/etc" "$root"
chmod -R u=rwX,go=rX "$root/etc"
chmod 640 "$root/etc/shadow"
install "$micro"/{cloud-init,init,shutdown,systemctl,systemd-run} "$root/usr/bin"
install "$micro"/{boot,cloud-config.jq,down,nocloud,udhcpc,unit,unit.awk} "$root/usr/lib/micro"
mv "$root/usr/bin/busybox" "$root/usr/lib/micro"
cp "$static" "$root/usr/bin"
ln -s dash "$root/usr/bin/sh"
for applet in $(LD_PRELOAD="" "$loader" --library-path "$libs" "$tree/bin/busybox" --list); do
    [ -e "$root/usr/bin/$applet" ] || ln -s ../lib/micro/busybox "$root/usr/bin/$applet"
done
for applet in $("$static" --list); do
    [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

install -m 644 "$tree/boot/vmlinuz-$version" "$root/boot/vmlinuz"
install -m 644 "$micro/grub.cfg" "$root/boot/grub"
# lz4's legacy frame is the one the kernel reads, and the fastest to unpack without KVM.
(cd "$initrd" && find . | cpio -o -H newc -R 0:0 --quiet) | lz4 -lq9 >"$root/boot/initrd"

# The disk: GRUB in the gap before the only partition. The inode tables are written now,
# lest the kernel does it in every overlay.
truncate -s 1G "$disk"
sfdisk -q "$disk" <<<'start=2048, type=83, bootable'
mke2fs -q -t ext4 -L micro -m 0 -E offset=$((2048 * 512)),lazy_itable_init=0 -d "$root" "$disk" 1047552k
grub-mkimage -O i386-pc -p '(,msdos1)/boot/grub' -o "$work/core.img" biosdisk part_msdos ext2 normal linux16
dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
qemu-img convert -O qcow2 "$disk" "$out"
echo "$out: $version, $(du -m "$out" | cut -f1) MB"
