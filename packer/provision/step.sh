#!/bin/sh
# Take one step of a build, then check it. As root.
# usage: step.sh STEP
set -eu
cd "$(dirname "$0")"
set -a
. ./image.env
set +a
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a

sh "./$1.sh"
exec sh ./check.sh build "$1"
