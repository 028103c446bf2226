#!/bin/sh
# The image brought nothing of the machine that it was built on.
set -eu
. ./report.sh
[ "$KM_PHASE" = boot ] || exit 0

same no-builder "" "$(id -un "$KM_BUILDER" 2> /dev/null || true)"
same no-leftovers "" "$(ls -A /var/tmp)"
