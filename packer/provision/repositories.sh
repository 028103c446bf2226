#!/bin/sh
# The vendors' apt repositories of repositories.tsv, each trusted for what its one key signs. A key
# is fetched, and believed if it has the fingerprint that the definition pins.
set -eu
. ./report.sh
. /etc/os-release

[ -s repositories.tsv ] || exit 0
missing=
for package in ca-certificates curl gpg; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update
    # shellcheck disable=SC2086  # names of packages hold no blanks
    apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -d -m 0755 /etc/apt/keyrings /etc/apt/sources.list.d

while IFS='	' read -r name url suite components key fingerprint; do
    curl -fsSL --retry 3 -o "$work/$name" "$key"
    found=$(fingerprints "$work/$name")
    if [ "$found" != "$fingerprint" ]; then
        failed "$name" "the key at $key is ${found:-none}, not $fingerprint"
        exit 1
    fi
    GNUPGHOME=$work gpg --dearmor < "$work/$name" > "$work/$name.gpg"
    install -m 0644 "$work/$name.gpg" "/etc/apt/keyrings/$name.gpg"
    [ "$suite" != - ] || suite=$VERSION_CODENAME
    {
        echo "Types: deb"
        echo "URIs: $url"
        echo "Suites: $suite"
        [ "$components" = - ] || echo "Components: $components"
        echo "Signed-By: /etc/apt/keyrings/$name.gpg"
    } > "/etc/apt/sources.list.d/$name.sources"
done < repositories.tsv
apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update
