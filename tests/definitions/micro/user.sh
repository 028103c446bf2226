#!/bin/sh
# The user who works in the image.
set -eu

id "$KM_USER" > /dev/null 2>&1 || useradd --create-home --shell /bin/sh --password "*" "$KM_USER"
echo "$KM_USER ALL=(ALL) NOPASSWD: ALL" > "/etc/sudoers.d/50-$KM_USER"
chmod 0440 "/etc/sudoers.d/50-$KM_USER"
