#!/bin/sh
# Check an image: a line each, "ok NAME: detail" or "failed NAME: detail". As root.
# usage: check.sh PHASE [STEP...]     PHASE: build, boot, reboot; no steps: all of them
set -eu
cd "$(dirname "$0")"
set -a
. ./image.env
set +a
export KM_PHASE="$1"
shift
[ $# -gt 0 ] || eval "set -- $KM_STEPS clean"

bad=0
for step in "$@"; do
    # A check that ends early has failed, whatever it printed before.
    if told=$(sh "./$step.check.sh" 2>&1); then code=0; else code=$?; fi
    [ "$code" = 0 ] || told="$told
failed $step: its check ended with $code"
    if echo "$told" | grep -q '^failed '; then bad=1; fi
    printf '%s\n' "$told"
done
echo checked # who reads this and does not find it last has not read all
exit "$bad"
