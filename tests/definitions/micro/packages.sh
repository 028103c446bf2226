#!/bin/sh
# There is no apt in the micro guest; what it has, it was born with.
set -eu
