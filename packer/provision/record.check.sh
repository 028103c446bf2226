#!/bin/sh
# The build record is there, and it is this build's.
set -eu
. ./report.sh

told() { jq -r '"\(.build) \(.fingerprint)"' "$1"; }

same record "$(told record.json)" "$(told /etc/kontain-image.json)"
