# shellcheck shell=sh
# How a check tells what it found: one line each, which a program reads.

ok() { # NAME DETAIL...
    name=$1
    shift
    echo "ok $name: $*"
}

failed() { # NAME DETAIL...
    name=$1
    shift
    echo "failed $name: $*"
}

same() { # NAME WANTED FOUND
    if [ "$2" = "$3" ]; then ok "$1" "${3:-none}"; else failed "$1" "${3:-none}, not ${2:-none}"; fi
}
