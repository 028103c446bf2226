#!/bin/sh
# What a stopped VM must not keep: the runner's credentials, and the secrets that its last job was lent.
# The job's own files stay, for who looks into its failure.
home=/actions-runner

rm -f $home/ready $home/.credentials $home/.credentials_rsaparams $home/.runner /etc/kontain/runner.json
rm -rf $home/_work/_temp $home/_work/_actions
# actions/checkout lends a token to git, and takes it back at the job's end, if the job comes to one.
find $home/_work -path '*/.git/config' -exec sed -i '/extraheader *=/Id' {} + 2> /dev/null
rm -f /home/*/.docker/config.json /root/.docker/config.json
# Who starts this VM again looks into it: it does not end itself for being no runner.
mkdir -p /var/lib/kontain
touch /var/lib/kontain/settled
sync
