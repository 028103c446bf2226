#!/bin/sh
# What Vagrant wants of a box: its user lets everybody in who has Vagrant's well-known keys, which Vagrant replaces at
# the first `up`; and the same disk boots under KVM and in VirtualBox, whose disks and network are others.
# The keys are those of hashicorp/vagrant, keys/vagrant.pub.rsa and keys/vagrant.pub.ed25519.
set -eu

# shellcheck disable=SC2016  # that user's shell expands it
home=$(su - "$KM_USER" -c 'echo "$HOME"')
mkdir -p "$home/.ssh"
cat > "$home/.ssh/authorized_keys" << 'EOF'
ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzxDqfJyw/QKow1F+wvG9hXGoqiysfJOn5Y vagrant insecure public key
EOF
chmod 0700 "$home/.ssh"
chmod 0600 "$home/.ssh/authorized_keys"
chown -R "$KM_USER:" "$home/.ssh"
! command -v restorecon > /dev/null || restorecon -R "$home/.ssh"

# No cloud tells a box who it is: cloud-init makes host keys and the network without one, and looks for none.
if [ -d /etc/cloud/cloud.cfg.d ]; then
    printf 'datasource_list: [NoCloud, None]\nusers: []\n' > /etc/cloud/cloud.cfg.d/91_vagrant.cfg
fi

# Drivers of the disk have to be in the initramfs, where one of any machine has them all anyway.
drivers="virtio_pci virtio_blk ahci sd_mod"
[ -d "/lib/modules/$(uname -r)" ] || exit 0 # all that it has is in the kernel, or in an initramfs of its own
for driver in $drivers virtio_net e1000; do
    if ! modinfo "$driver" > /dev/null 2>&1; then
        echo "failed $driver: $(uname -r) has no such driver; this box needs a kernel that does"
        exit 1
    fi
done
if command -v update-initramfs > /dev/null; then
    if grep -rqs '^MODULES=list' /etc/initramfs-tools/conf.d /etc/initramfs-tools/initramfs.conf; then
        for driver in $drivers; do
            grep -qx "$driver" /etc/initramfs-tools/modules || echo "$driver" >> /etc/initramfs-tools/modules
        done
        update-initramfs -u
    fi
elif command -v dracut > /dev/null; then
    echo "add_drivers+=\" $drivers \"" > /etc/dracut.conf.d/60-vagrant.conf
    dracut --force --no-hostonly
fi
