#!/bin/sh
# Makes this VM a runner of GitHub Actions. Run once, as root, by cloud-init, at the VM's first boot; what it
# says goes to the console, where who waits for the runner reads it when nothing comes.
set -eu
given=/etc/kontain/runner.json
home=/actions-runner

say() { echo "kontain: $*"; }
trap '[ $? -eq 0 ] || say "failed: $doing"' EXIT

doing="reading $given"
user='' url='' name='' labels='' download='' sha256='' cached='' token='' jit=''
# Names are ours, values anybody's: jq quotes them for a shell.
eval "$(jq -r 'to_entries[] | "\(.key)=\(.value | @sh)"' $given)"
archive=$cached

if [ ! -e "$archive" ]; then
    doing="downloading $download"
    say "$doing"
    archive=/tmp/actions-runner.tar.gz
    curl -fsSL --retry 5 --retry-delay 2 --connect-timeout 20 -o "$archive" "$download"
    doing="checksum of $download"
    echo "$sha256  $archive" | sha256sum -c - > /dev/null
fi

doing="unpacking $archive"
mkdir -p $home
tar -xzf "$archive" -C $home
chown -R "$user" $home
rm -f /tmp/actions-runner.tar.gz

umask 077
mkdir -p /run/kontain
if [ -n "$jit" ]; then
    echo "ACTIONS_RUNNER_INPUT_JITCONFIG=$jit" > /run/kontain/runner.env
else
    doing="registering $name at $url"
    say "$doing"
    # The token goes by environment: arguments can be read by every process.
    (cd $home && ACTIONS_RUNNER_INPUT_TOKEN=$token setpriv --reuid "$user" --regid "$user" --init-groups \
        ./config.sh --unattended --url "$url" --name "$name" --labels "$labels" --no-default-labels \
        --work _work --disableupdate)
fi

doing="forgetting the token"
rm -f $given /var/lib/cloud/instances/*/user-data.txt* /var/lib/cloud/instances/*/cloud-config.txt \
    /var/lib/cloud/instances/*/obj.pkl /run/cloud-init/instance-data-sensitive.json \
    /run/cloud-init/combined-cloud-config.json
# Where the user data came as a disk, what we have read of it is still in memory.
! disk=$(findfs LABEL=cidata 2> /dev/null) || blockdev --flushbufs "$disk"

doing="starting the runner"
mkdir -p /var/lib/kontain
touch $home/ready /var/lib/kontain/settled
systemctl daemon-reload
systemctl enable --now kontain-runner.service
say "the runner $name has been started"
