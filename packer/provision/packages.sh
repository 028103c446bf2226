#!/bin/sh
# Install the tools of tools.tsv that come from apt and are not there yet.
set -eu

missing=
while IFS='	' read -r _ source package _; do
    [ "$source" = apt ] || continue
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' || missing="$missing $package"
done < tools.tsv

[ -n "$missing" ] || exit 0
apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086  # names of packages hold no blanks
apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing
