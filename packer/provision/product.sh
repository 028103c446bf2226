#!/bin/sh
# The product: kontain.tar.gz under /opt/kontain, its kernel module by kkm.run, docker and podman set up by the
# product's own scripts. What was brought is held against product.sums first. The same for boxes and AMIs.
set -eu

sha256sum -c product.sums
bash=$(command -v bash || command -v sh)

# The module first: it is built for the running kernel, whose headers are there.
"$bash" ./kkm.run --noprogress -- --force-install

mkdir -p /opt/kontain
tar -x -z -o -f kontain.tar.gz -C /opt/kontain
! command -v restorecon > /dev/null || restorecon -R /opt/kontain
/opt/kontain/bin/docker_config.sh
/opt/kontain/bin/podman_config.sh

# Docker knows krun, and crun beside it; whatever the product's script left out.
config=/etc/docker/daemon.json
mkdir -p /etc/docker
[ -s "$config" ] || echo '{}' > "$config"
fresh=$(mktemp)
jq --arg crun "$(command -v crun || echo /usr/bin/crun)" \
    '.runtimes.krun //= { path: "/opt/kontain/bin/krun" } | .runtimes.crun //= { path: $crun }' "$config" > "$fresh"
cat "$fresh" > "$config"
rm "$fresh"

mkdir -p /etc/profile.d
# shellcheck disable=SC2016  # the shell that logs in expands it
echo 'PATH=$PATH:/opt/kontain/bin' > /etc/profile.d/kontain.sh
! grep -q '^docker:' /etc/group || usermod --append --groups docker "$KM_USER"
rm kontain.tar.gz kkm.run
