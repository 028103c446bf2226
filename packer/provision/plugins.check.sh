#!/bin/sh
# Packer sees every plugin of plugins.tsv, in its version, where every login looks.
set -eu
. ./report.sh

[ -s plugins.tsv ] || exit 0
same plugins-for-all PACKER_PLUGIN_PATH=/opt/kontain/packer-plugins "$(grep '^PACKER_PLUGIN_PATH=' /etc/environment)"
seen=$(PACKER_PLUGIN_PATH=/opt/kontain/packer-plugins packer plugins installed < /dev/null)
while IFS='	' read -r name version; do
    if echo "$seen" | grep -q "/hashicorp/$name/packer-plugin-${name}_v${version}_"; then
        ok "plugin-$name" "$version"
    else
        failed "plugin-$name" "no $version among $(echo "$seen" | wc -w) plugins"
    fi
done < plugins.tsv
