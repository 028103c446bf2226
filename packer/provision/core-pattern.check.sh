#!/bin/sh
# The pattern is in force, and a crash leaves the file that it names.
set -eu
. ./report.sh

same core-pattern core_%P "$(sysctl -n kernel.core_pattern)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# The crash is meant: neither the shell's word about it nor its exit code is of interest.
crashed=$({ sh -c 'ulimit -c unlimited; echo $$; kill -SEGV $$' || true; } 2> /dev/null)
same core-dump "core_$crashed" "$(ls)"
