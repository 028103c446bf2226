#!/bin/sh
# The headers of the running kernel, and both held where they are: a module that a job builds
# must load, on the day of the build and a year later.
set -eu
release=$(uname -r)

if [ ! -e "/lib/modules/$release/build" ]; then
    apt-get -q -o Acquire::Retries=3 update
    apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends "linux-headers-$release"
fi

dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-image-*' 'linux-headers-*' |
    awk '$1 == "ii" { print $2 }' | xargs apt-mark hold
