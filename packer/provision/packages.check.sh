#!/bin/sh
# Every tool of tools.tsv runs; one of the distribution is no older than it may be, one of a vendor is
# the very one that is pinned.
set -eu
. ./report.sh

while IFS='	' read -r name source _ wanted check; do
    if ! told=$(sh -c "$check" 2>&1 < /dev/null); then
        failed "$name" "$check: $(echo "$told" | tail -n 1)"
        continue
    fi
    found=$(echo "$told" | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1)
    if [ "$source" != apt ] && [ "$source" != dnf ]; then
        same "$name" "$wanted" "$found"
        continue
    fi
    oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)
    if [ "$oldest" = "$wanted" ]; then
        ok "$name" "$found"
    else
        failed "$name" "$found is older than $wanted"
    fi
done < tools.tsv
