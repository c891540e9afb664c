#!/bin/sh
# Runs on the machine, as root, each time it is provisioned: what the recipe's packages lack
# (nothing, on a box of ours), then what the host has staged. $1: the synced directory.
set -eu
stage=$1
packages=$(sed -n '/"packages": \[/,/\]/ s/^ *"\([a-z0-9.+-]*\)",*$/\1/p' "$stage/manifest.json")

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >/dev/null
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing >/dev/null
fi

search=/opt/conformance/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -d /etc/sudoers.d ] && ! grep -qs "$search" /etc/sudoers.d/conformance; then
    echo "Defaults secure_path=\"$search\"" > /etc/sudoers.d/conformance
    chmod 440 /etc/sudoers.d/conformance
fi

# What is written here is what the testbed compares: only a finished installation says it.
manifest=$(sha256sum < "$stage/manifest.json")
rm -f /var/lib/conformance-provisioned
python3 "$stage/install.py" "$stage"
echo "${manifest%% *}" > /var/lib/conformance-provisioned
