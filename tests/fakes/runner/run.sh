#!/bin/sh
# Takes jobs, until a signal comes; one job and no more where it was registered so.
set -eu
cd "$(dirname "$0")"

if [ "$(id -u)" -eq 0 ] && [ -z "${RUNNER_ALLOW_RUNASROOT:-}" ]; then
    echo "Must not run interactively with sudo"
    exit 1
fi

# The real one has two more processes between here and there. What it says when the inner one ends is said there.
exec ./bin/Runner.Listener run "$@"
