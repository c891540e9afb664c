#!/bin/sh
# Installs what this host lacks: Debian 12 or 13, Ubuntu 24.04. Says what it installs; does
# nothing the second time. As root, or as an ordinary user through sudo.
#   sh vms/host/install.sh run     what a conformance run needs
#   sh vms/host/install.sh test    the same, and what the harness's own tests need
set -eu

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 3; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "needs root to run: $* (become root, or install sudo)"; fi
}

missing=""
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need python3 python3
need mmdebstrap mmdebstrap
need ip iproute2
need git git
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
# Ubuntu's own keyring does not know Debian's archive
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
if [ "${1:-run}" = test ]; then
    need ssh openssh-client
    need ssh-keygen openssh-client
    need cc gcc
    need chromium chromium
    need chromedriver chromium-driver
fi

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || die "install these by hand:$missing (apt-get is not here)"
    say "installing Debian packages:$missing"
    # shellcheck disable=SC2086
    set -- $missing
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 || {
        as_root apt-get update -q >/dev/null
        as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null
    }
fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "python3 is $(python3 -V 2>&1), 3.11 or newer is needed"
