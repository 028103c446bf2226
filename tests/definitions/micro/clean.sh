#!/bin/sh
# The last step: nothing of this one machine stays.
set -eu
cd "$(dirname "$0")"
. ./image.env

cloud-init clean --logs --machine-id
rm -f /etc/ssh/ssh_host_* /etc/sudoers.d/90-cloud-init-users
userdel --remove --force "$KM_BUILDER"
rm -rf /tmp/* /var/tmp/*
sync
