#!/bin/sh
# The product is inside, on the user's PATH, and docker and podman know its runtimes.
set -eu
. ./report.sh

for file in bin/km bin/krun bin/docker_config.sh bin/podman_config.sh; do
    name=product-$(basename "$file")
    if [ -x "/opt/kontain/$file" ]; then ok "$name" there; else failed "$name" "no /opt/kontain/$file"; fi
done
same product-path /opt/kontain/bin/km "$(su - "$KM_USER" -c 'command -v km' 2> /dev/null)"
same docker-krun /opt/kontain/bin/krun "$(jq -r .runtimes.krun.path /etc/docker/daemon.json)"
crun=$(jq -r .runtimes.crun.path /etc/docker/daemon.json)
if [ "$crun" != null ]; then ok docker-crun "$crun"; else failed docker-crun "not among the runtimes"; fi
if grep -rqs '/opt/kontain/bin/krun' /etc/containers /usr/share/containers; then
    ok podman-krun "configured"
else
    failed podman-krun "no line about /opt/kontain/bin/krun in /etc/containers"
fi

# A box whose docker runs knows them there too.
command -v docker > /dev/null || exit 0
[ "$KM_PHASE" != build ] || exit 0
known=$(docker info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>&1)
for runtime in krun crun; do
    case " $known " in
        *" $runtime "*) ok "docker-knows-$runtime" "$known" ;;
        *) failed "docker-knows-$runtime" "$known" ;;
    esac
done
