# shellcheck shell=sh
# How a check tells what it found: one line each, which a program reads. The variables of who asks
# are left alone.

ok() ( # NAME DETAIL...
    name=$1
    shift
    echo "ok $name: $*"
)

failed() ( # NAME DETAIL...
    name=$1
    shift
    echo "failed $name: $*"
)

same() { # NAME WANTED FOUND
    if [ "$2" = "$3" ]; then ok "$1" "${3:-none}"; else failed "$1" "${3:-none}, not ${2:-none}"; fi
}

fingerprints() { # FILE: of the keys in it, one a line
    gpg --batch --show-keys --with-colons "$1" 2> /dev/null | awk -F: '
        $1 == "pub" { wanted = 1 }
        $1 == "fpr" && wanted { print $10; wanted = 0 }'
}
