#!/bin/sh
# The pattern is in force, and a crash leaves the file that it names.
set -eu
. ./report.sh

same core-pattern core_%P "$(sysctl -n kernel.core_pattern)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# The crash is meant: its own report is not of interest, and neither is its exit code.
crashed=$(sh -c 'ulimit -c unlimited; echo $$; kill -SEGV $$' 2> /dev/null) || true
same core-dump "core_$crashed" "$(ls)"
