#!/bin/sh
# Vagrant's two keys and no other let one in, and the initramfs has the drivers of both kinds of disk.
set -eu
. ./report.sh

# shellcheck disable=SC2016  # that user's shell expands it
keys=$(su - "$KM_USER" -c 'echo "$HOME"')/.ssh/authorized_keys
same vagrant-keys "ssh-rsa ssh-ed25519" "$(cut -d ' ' -f 1 "$keys" | xargs)"
same vagrant-keys-mode "$KM_USER 600" "$(stat -c '%U %a' "$keys")"

if command -v lsinitramfs > /dev/null; then
    content=$(lsinitramfs "/boot/initrd.img-$(uname -r)")
elif command -v lsinitrd > /dev/null; then
    content=$(lsinitrd --kver "$(uname -r)")
else
    exit 0
fi
for driver in virtio_blk ahci sd_mod; do
    if echo "$content" | grep -q "/$driver\.ko" || modinfo -n "$driver" | grep -qx '(builtin)'; then
        ok "initramfs-$driver" "there"
    else
        failed "initramfs-$driver" "not in the initramfs of $(uname -r)"
    fi
done
