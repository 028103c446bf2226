#!/bin/sh
# Install the tools of tools.tsv that are not there yet: from the distribution what it has, from a
# vendor's repository exactly the version that is pinned, which then stays.
set -eu
. ./report.sh

missing=
pinned=
while IFS='	' read -r name source package version _; do
    case $source in
        apt)
            dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' ||
                missing="$missing $package"
            continue
            ;;
        dnf)
            rpm -q "$package" > /dev/null || missing="$missing $package"
            continue
            ;;
    esac
    # 5:28.2.2-1~ubuntu.22.04~jammy is 28.2.2: what comes before a colon and after - or ~ is packaging.
    exact=$(apt-cache madison "$package" | awk -v wanted="$version" '
        { upstream = $3; sub(/^[0-9]+:/, "", upstream); sub(/[-~].*/, "", upstream) }
        upstream == wanted { print $3; exit }')
    if [ -z "$exact" ]; then
        failed "$name" "$source has no $package $version"
        exit 1
    fi
    missing="$missing $package=$exact"
    pinned="$pinned $package"
done < tools.tsv

[ -n "$missing" ] || exit 0
if command -v dnf > /dev/null; then
    # shellcheck disable=SC2086  # names of packages hold no blanks
    exec dnf -q -y --setopt=install_weak_deps=False --setopt=retries=3 install $missing
fi
# Where there are repositories the lists are fresh: the step before has read them.
[ -s repositories.tsv ] || apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086  # names of packages hold no blanks
apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install --no-install-recommends \
    --allow-downgrades --allow-change-held-packages $missing
# shellcheck disable=SC2086
[ -z "$pinned" ] || apt-mark hold $pinned
