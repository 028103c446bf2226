#!/bin/sh
# The last step inside the new root file system: what makes it boot as a cloud image does,
# waiting for cloud-init to tell who it is.
set -eu
root=$1

echo 'LABEL=root / ext4 defaults,noatime 0 1' > "$root/etc/fstab"
echo localhost > "$root/etc/hostname"
printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
mkdir -p "$root/etc/network"
printf 'auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n' > "$root/etc/network/interfaces"

# The kernel packages keep /vmlinuz and /initrd.img on the newest kernel.
mkdir -p "$root/boot/grub"
cat > "$root/boot/grub/grub.cfg" << 'EOF'
set timeout=0
serial --unit=0 --speed=115200
terminal_output serial
linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0 net.ifnames=0 quiet
initrd /initrd.img
boot
EOF

# One kind of host key: under emulation the others cost 7 seconds of the first boot.
cat > "$root/etc/cloud/cloud.cfg.d/90_local.cfg" << 'EOF'
datasource_list: [NoCloud, None]
ssh_genkeytypes: [ed25519]
locale: false
apt: {preserve_sources_list: true}
EOF

# Nothing that works behind a build's or a job's back.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
