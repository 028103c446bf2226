#!/bin/sh
# The build record, inside: which image this is, out of what, and which versions are in it.
set -eu

as_object='split("\n") | map(select(. != "") | split("\t") | { (.[0]): .[1] }) | add // {}'
tools=$(sh ./check.sh build packages | sed -n 's/^ok \([^:]*\): \(.*\)/\1\t\2/p' | jq -R -s "$as_object")
if command -v dnf > /dev/null; then
    list() { rpm -qa --queryformat '%{NAME}\t%{VERSION}-%{RELEASE}\n'; }
else
    list() { dpkg-query -W -f '${Package}\t${Version}\n'; }
fi
packages=$(list 2> /dev/null | jq -R -s "$as_object")

fresh=$(mktemp)
jq --argjson tools "$tools" --argjson packages "$packages" --arg kernel "$(uname -r)" \
    '. + { kernel: $kernel, packages: $packages, tools: $tools }' record.json > "$fresh"
chmod 0644 "$fresh"
mv "$fresh" /etc/kontain-image.json
