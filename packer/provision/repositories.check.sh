#!/bin/sh
# Every repository is trusted for its own key, and nobody's key is trusted for all of them.
set -eu
. ./report.sh

while IFS='	' read -r name _ _ _ _ fingerprint; do
    same "key-of-$name" "$fingerprint" "$(fingerprints "/etc/apt/keyrings/$name.gpg")"
    same "repository-$name" "Signed-By: /etc/apt/keyrings/$name.gpg" \
        "$(grep '^Signed-By' "/etc/apt/sources.list.d/$name.sources")"
done < repositories.tsv
same no-key-for-all "" "$(ls /etc/apt/trusted.gpg 2> /dev/null)"
