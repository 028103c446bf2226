#!/bin/sh
# Registers this folder as a runner, or with `remove` takes that back.
set -eu
cd "$(dirname "$0")"

if [ "$(id -u)" -eq 0 ] && [ -z "${RUNNER_ALLOW_RUNASROOT:-}" ]; then
    echo "Must not run with sudo"
    exit 1
fi

if [ "${1:-}" = remove ]; then
    exec ./bin/Runner.Listener "$@"
fi
./env.sh
exec ./bin/Runner.Listener configure "$@"
