#!/bin/sh
# The command in $OUT/run, in the root $1, where vagrant has libvirt. Mounts, network and processes are its own and end
# with it. The folders of $SHARED are seen inside; how the command ended and what libvirt has then come to $OUT.
set -eu
root=$1

case ${2-} in
    '')
        cp "$0" "$root/libvirt.sh"
        # It is root in there, and the root is no mount, as its own namespaces for QEMU would need it.
        printf '%s\n' 'namespaces = []' 'security_driver = "none"' 'user = "root"' 'group = "root"' \
            >> "$root/etc/libvirt/qemu.conf"
        exec unshare --mount --propagation private --net --pid --fork --kill-child "$0" "$root" mount
        ;;
    mount)
        for folder in /dev /dev/pts /sys "$OUT" $SHARED; do
            mkdir -p "$root$folder"
            mount --bind "$folder" "$root$folder"
        done
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        exec chroot "$root" /libvirt.sh / inside
        ;;
    inside)
        ip link set lo up
        virtlogd -d
        libvirtd -d
        virsh="virsh --connect qemu:///system"
        tries=0
        until $virsh list > "$OUT/domains"; do
            tries=$((tries + 1))
            [ "$tries" -lt 100 ]
            sleep 0.2
        done
        code=0
        sh "$OUT/run" > "$OUT/stdout" 2> "$OUT/stderr" || code=$?
        echo "$code" > "$OUT/code"
        $virsh list --all --name > "$OUT/domains"
        $virsh vol-list default > "$OUT/volumes"
        ;;
esac
