#!/bin/sh
# Runs in the box's root file system, before it becomes a disk.
set -eu

rm -f /usr/sbin/policy-rc.d  # services may start: this is a machine
echo conformance > /etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 conformance\n' > /etc/hosts
: > /etc/machine-id          # each machine makes its own
rm -f /etc/ssh/ssh_host_*    # and its own host key, in sshd-keygen.service

useradd --create-home --shell /bin/bash --password '*' vagrant
chown -R vagrant:vagrant /home/vagrant
chmod 700 /home/vagrant/.ssh
chmod 600 /home/vagrant/.ssh/authorized_keys
chmod 440 /etc/sudoers.d/conformance

systemctl --quiet enable systemd-networkd ssh
systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    grub-common.service systemd-networkd-wait-online.service
# Started by a run whose path needs them, with a configuration and directories of its own.
systemctl --quiet disable \
    containerd.service docker.service docker.socket docker-registry.service \
    netavark-dhcp-proxy.service netavark-dhcp-proxy.socket
# Profiles of programs that are not here cost 20 s of every emulated boot.
for profile in /etc/apparmor.d/*; do
    name=${profile##*/}
    [ -f "$profile" ] || continue
    command -v "$name" >/dev/null || ln -s "$profile" "/etc/apparmor.d/disable/$name"
done
# Nested virtualization, sound and the like are of no use to containers.
printf 'blacklist %s\n' kvm_amd kvm_intel ppdev parport_pc pcspkr bochs cirrus > /etc/modprobe.d/conformance.conf

# ssh over AF_VSOCK, which these machines do not have
mkdir -p /etc/systemd/system-generators
ln -s /dev/null /etc/systemd/system-generators/systemd-ssh-generator

kernel=$(ls /lib/modules)
depmod "$kernel"
update-initramfs -u -k "$kernel"
ln -sf "boot/vmlinuz-$kernel" /vmlinuz
ln -sf "boot/initrd.img-$kernel" /initrd.img
grub-mkimage --format=i386-pc --output=/boot/grub/core.img --prefix='(hd0,msdos1)/boot/grub' \
    biosdisk part_msdos ext2 normal linux search search_label boot echo
cp /usr/lib/grub/i386-pc/boot.img /boot/grub/boot.img
rm -rf /var/cache/apt/*.bin /var/lib/apt/lists/*
# Nothing is out of date at the first boot.
ldconfig
touch /etc/.updated /var/.updated
