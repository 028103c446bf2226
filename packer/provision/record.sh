#!/bin/sh
# The build record, inside: which image this is, out of what, and which versions are in it.
set -eu

tools=$(sh ./check.sh build packages | sed -n 's/^ok \([^:]*\): \(.*\)/\1\t\2/p' |
    jq -R -s 'split("\n") | map(select(. != "") | split("\t") | { (.[0]): .[1] }) | add // {}')
fresh=$(mktemp)
jq --argjson tools "$tools" --arg kernel "$(uname -r)" '. + { tools: $tools, kernel: $kernel }' record.json > "$fresh"
install -m 0644 "$fresh" /etc/kontain-image.json
rm "$fresh"
