#!/bin/sh
# The build record is there and names the build.
set -eu
. ./report.sh

same record "$(jq -r .build record.json)" "$(jq -r .build /etc/kontain-image.json)"
