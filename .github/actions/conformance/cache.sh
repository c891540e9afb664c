#!/bin/sh
# Packs what the harness has built into one file, and unpacks it again. Images hold files that
# only root can read and that belong to other users: the cache action, which is neither, would
# lose them.
#   sh cache.sh pack FILE      does nothing where nothing was built
#   sh cache.sh unpack FILE    does nothing without the file, or where something was built already
set -eu

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

place=${CONFORMANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wasm-conformance}
file=$2
case $1 in
pack)
    [ -d "$place" ] || exit 0
    as_root tar --create --file "$file" --directory "$place" --numeric-owner --xattrs --xattrs-include='*' \
        --exclude='./logs' --exclude='.partial-*' .
    as_root chown "$(id -u):$(id -g)" "$file"
    ;;
unpack)
    [ -f "$file" ] || exit 0
    if [ -d "$place" ] && [ -n "$(ls -A "$place")" ]; then exit 0; fi
    mkdir -p "$place"
    as_root tar --extract --file "$file" --directory "$place" --numeric-owner --same-owner --preserve-permissions \
        --xattrs --xattrs-include='*'
    rm -f "$file"
    ;;
*)
    echo "cache.sh: expected pack or unpack, not '$1'" >&2
    exit 4
    ;;
esac
