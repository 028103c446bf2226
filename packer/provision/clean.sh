#!/bin/sh
# The last step: nothing of this one machine stays, so that every copy becomes its own.
set -eu
cd "$(dirname "$0")"
. ./image.env

systemctl stop docker.socket docker containerd 2> /dev/null || true
rm -rf /var/lib/docker/* /var/lib/containerd/* /etc/docker/key.json

if command -v dnf > /dev/null; then
    dnf -q clean all
else
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old
fi

# Azure's agent, where it is: what it knows of this VM, and the password of its user ("Deprovisioning").
! command -v waagent > /dev/null || waagent -force -deprovision
cloud-init clean --logs --seed
rm -f /etc/network/interfaces.d/50-cloud-init /etc/netplan/50-cloud-init.yaml
rm -f /etc/sudoers.d/90-cloud-init-users
rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys
# But for Vagrant's own keys, which everybody has, and which Vagrant replaces: see vagrant.sh.
find /home -path '*/.ssh/authorized_keys' ! -path '/home/vagrant/*' -delete
rm -f /root/.bash_history /home/*/.bash_history /var/lib/systemd/random-seed
rm -rf /var/lib/dhcp/* /var/lib/private/systemd/journal
echo localhost > /etc/hostname
: > /etc/machine-id
[ ! -d /var/lib/dbus ] || ln -sf /etc/machine-id /var/lib/dbus/machine-id

# The user that the build logged in as. It is still logged in: its files go even so.
[ -z "$KM_BUILDER" ] || userdel --remove --force "$KM_BUILDER" 2> /dev/null || ! id "$KM_BUILDER" 2> /dev/null

# Logs last, for the lines above write some.
systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald 2> /dev/null || true
rm -rf /var/log/journal/* /run/log/journal/*
find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' \) -delete
find /var/log -type f -exec truncate -s 0 {} +
rm -rf /tmp/* /var/tmp/*
fstrim / || true # a disk that can't be trimmed is only larger
sync
