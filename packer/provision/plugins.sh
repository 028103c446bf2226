#!/bin/sh
# Packer's plugins of plugins.tsv, for everybody: a job need not fetch them. Packer holds each
# against the checksums of its release.
set -eu

[ -s plugins.tsv ] || exit 0
PACKER_PLUGIN_PATH=/opt/kontain/packer-plugins
CHECKPOINT_DISABLE=1
export PACKER_PLUGIN_PATH CHECKPOINT_DISABLE
while IFS='	' read -r name version; do
    packer plugins install "github.com/hashicorp/$name" "v$version" < /dev/null
done < plugins.tsv
grep -qs '^PACKER_PLUGIN_PATH=' /etc/environment || echo "PACKER_PLUGIN_PATH=$PACKER_PLUGIN_PATH" >> /etc/environment
