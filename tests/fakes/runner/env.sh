#!/bin/sh
# Keeps what jobs get of the environment in which the runner is registered.
set -eu

touch .env
for name in LANG JAVA_HOME; do
    eval "value=\${$name:-}"
    # shellcheck disable=SC2154  # the line above sets it
    if [ -n "$value" ] && ! grep -q "^$name=" .env; then
        echo "$name=$value" >> .env
    fi
done
echo "$PATH" > .path
