#!/bin/sh
# Installs what this host lacks: Debian 12 or 13, Ubuntu 24.04. Says what it installs; does
# nothing the second time. As root, or as an ordinary user through sudo.
#   sh vms/host/install.sh run     what a conformance run needs
#   sh vms/host/install.sh test    the same, and what the harness's own tests need
#   sh vms/host/install.sh vms     the same, and what Vagrant machines need; starts libvirt where no systemd does
set -eu

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 3; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "needs root to run: $* (become root, or install sudo)"; fi
}

missing="" from=""
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

install() { # PACKAGE...
    command -v apt-get >/dev/null || die "install these by hand: $* (apt-get is not here)"
    say "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get install -y -q --no-install-recommends ${from:+-t "$from"} "$@" >/dev/null 2>&1 || {
        as_root apt-get update -q >/dev/null
        as_root apt-get install -y -q --no-install-recommends ${from:+-t "$from"} "$@" >/dev/null
    }
}

need_package() { # PACKAGE
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || missing="$missing $1"
}

# Debian 12 has a fitting QEMU in its backports only. The line is the host's own for
# bookworm with another suite, so that no mirror is named here.
add_backports() {
    . /etc/os-release
    [ "${VERSION_CODENAME:-}" = bookworm ] || return 0
    from=bookworm-backports
    ! apt-cache policy | grep -q "n=$from" || return 0
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "bookworm" { print $4; exit }')
    [ -n "$mirror" ] || die "QEMU 10 or newer is needed: add bookworm-backports to apt's sources"
    say "adding bookworm-backports to apt's sources, for QEMU"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $from main" |
        as_root tee /etc/apt/sources.list.d/conformance-backports.list >/dev/null
    as_root apt-get update -q >/dev/null
}

need python3 python3
need mmdebstrap mmdebstrap
need ip iproute2
need git git
need nsenter util-linux
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
# Ubuntu's own keyring does not know Debian's archive
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
if [ "${1:-run}" = test ]; then
    need ssh openssh-client
    need ssh-keygen openssh-client
    need faketime faketime
    need cc gcc
    need chromium chromium
    need chromedriver chromium-driver
fi

if [ "${1:-run}" = vms ]; then
    need ssh openssh-client
    need rsync rsync
    need vagrant vagrant
    need virsh libvirt-clients
    need libvirtd libvirt-daemon-system
    need dnsmasq dnsmasq-base
    need_package vagrant-libvirt
    need_package libvirt-daemon-system
    # QEMU 7.2 panics a 6.12 kernel under emulation
    major=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
    if [ "${major:-0}" -lt 10 ]; then
        add_backports
        install qemu-system-x86 qemu-utils
    fi
    need qemu-img qemu-utils
    from=""
fi

# shellcheck disable=SC2086
[ -z "$missing" ] || install $missing

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "python3 is $(python3 -V 2>&1), 3.11 or newer is needed"

[ "${1:-run}" = vms ] || exit 0

# Where systemd runs, libvirt's sockets start it. Elsewhere (a container) it is started here.
if ! virsh -c qemu:///system version >/dev/null 2>&1; then
    if [ -d /run/systemd/system ]; then
        as_root systemctl start virtlogd libvirtd
    else
        say "starting libvirt (no systemd here)"
        # As udev would set it. Where root can open it and QEMU's user cannot, libvirt examines
        # QEMU anew at every step, a minute each.
        [ ! -c /dev/kvm ] || { as_root chgrp kvm /dev/kvm && as_root chmod 660 /dev/kvm; }
        as_root mkdir -p /run/libvirt
        as_root virtlogd -d
        as_root libvirtd -d
    fi
    tries=0
    until virsh -c qemu:///system version >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || die "libvirtd does not answer: see /var/log/libvirt, or run libvirtd in a terminal"
        sleep 0.2
    done
fi
