#!/bin/sh
# A module can be built for the running kernel, and loads; kernel and headers stay as they are.
set -eu
. ./report.sh
release=$(uname -r)

if command -v dnf > /dev/null; then
    same kernel-held 'exclude=kernel*' "$(grep '^exclude=' /etc/dnf/dnf.conf)"
else
    held=$(apt-mark showhold)
    loose=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-image-*' 'linux-headers-*' |
        awk '$1 == "ii" { print $2 }' | while read -r package; do
        echo "$held" | grep -qx "$package" || echo "$package"
    done)
    same kernel-held "" "$loose"
fi

[ "$KM_PHASE" = boot ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/proof.c" << 'EOF'
#include <linux/module.h>
static int __init proof_init(void) { return 0; }
static void __exit proof_exit(void) {}
module_init(proof_init);
module_exit(proof_exit);
MODULE_LICENSE("GPL");
EOF
echo 'obj-m := proof.o' > "$work/Makefile"
if told=$(make -s -C "/lib/modules/$release/build" M="$work" modules 2>&1 && insmod "$work/proof.ko" 2>&1); then
    rmmod proof
    ok kernel-module "built and loaded for $release"
else
    failed kernel-module "$(echo "$told" | tail -n 1)"
fi
