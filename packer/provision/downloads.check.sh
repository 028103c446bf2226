#!/bin/sh
# Every file of downloads.tsv is there, with its checksum.
set -eu
. ./report.sh

while IFS='	' read -r _ sha256 to; do
    same "$(basename "$to")" "$sha256" "$(sha256sum "$to" 2> /dev/null | cut -d ' ' -f 1)"
done < downloads.tsv
