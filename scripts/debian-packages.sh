#!/bin/sh
# Installs, when run as root, what the demo, the system tests and the benchmarks use of Debian;
# otherwise names what is missing in one line.
#
#   sh scripts/debian-packages.sh [demo|bench]    only what that command uses
#
# Always exits 0: whoever needs a program says so, and tests are skipped visibly (TS-69).
set -eu

wanted="ip:iproute2 ping:iputils-ping ps:procps iperf3:iperf3 nft:nftables wireguard-go:wireguard-go
wg:wireguard-tools curl:curl openssl:openssl turnutils_uclient:coturn dig:bind9-dnsutils unbound:unbound
ssh:openssh-client sshd:openssh-server tracepath:iputils-tracepath chromium-headless-shell:chromium-headless-shell
traceroute:traceroute dnsmasq:dnsmasq-base openvpn:openvpn musl-gcc:musl-tools gcc:gcc pg_ctlcluster:postgresql"

case "${1:-}" in
demo) wanted="ip:iproute2 ping:iputils-ping iperf3:iperf3 nft:nftables openssl:openssl" ;;
bench) wanted="ip:iproute2 ping:iputils-ping iperf3:iperf3 openssl:openssl wg:wireguard-tools" ;;
esac

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
missing() {
  for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || printf ' %s' "${pair#*:}"
  done
}

# What manages a host is unpacked only: installed it would take over the host's /etc/resolv.conf and network.
unpacked=/opt/postern-test
has_resolved() {
  [ "${1:-}" = demo ] || [ -e /lib/systemd/systemd-resolved ] ||
    [ -e "$unpacked/systemd-resolved/lib/systemd/systemd-resolved" ]
}
has_manager() {
  [ -n "${1:-}" ] || [ -e /usr/sbin/NetworkManager ] || [ -e "$unpacked/network-manager/usr/sbin/NetworkManager" ]
}

packages=$(missing)
[ -n "$packages" ] || ! has_resolved "${1:-}" || ! has_manager "${1:-}" || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  has_resolved "${1:-}" || packages="$packages systemd-resolved"
  has_manager "${1:-}" || packages="$packages network-manager"
  echo "not installed (Debian packages):$packages" >&2
  exit 0
fi

[ -z "$packages" ] || echo "installing Debian packages, which takes some twenty seconds:$packages" >&2
export DEBIAN_FRONTEND=noninteractive
lock="-o DPkg::Lock::Timeout=300"
# iperf3 asks a question and wireguard-tools recommends a kernel: neither is wanted here.
# coturn, unbound, sshd, openvpn and postgresql bring services, of which only the programs are used: in run level 1 none is started.
# shellcheck disable=SC2086
install() { RUNLEVEL=1 apt-get $lock install -y -qq --no-install-recommends "$@" >/dev/null; }
# A name that this release does not know refuses all of them at once: then each is tried by itself.
# shellcheck disable=SC2086
[ -z "$packages" ] || install $packages 2>/dev/null || { apt-get $lock update -qq >/dev/null && install $packages; } ||
  for package in $packages; do install "$package" || true; done

packages=$(missing)
[ -z "$packages" ] || echo "could not be installed (Debian packages):$packages" >&2

# unpack PACKAGE LIBRARY...
unpack() {
  package=$1
  shift
  install dbus-daemon "$@"
  folder=$(mktemp -d)
  mkdir -p "$unpacked/$package"
  (cd "$folder" && apt-get download -qq "$package" >/dev/null 2>&1) && dpkg-deb -x "$folder"/*.deb "$unpacked/$package"
  rm -rf "$folder"
}
has_resolved "${1:-}" || unpack systemd-resolved libsystemd-shared ||
  echo "could not be unpacked (Debian package): systemd-resolved" >&2
has_manager "${1:-}" || unpack network-manager libbluetooth3 libcurl3-gnutls libjansson4 libmm-glib0 libndp0 \
  libnewt0.52 libnm0 libpsl5 libteamdctl0 || echo "could not be unpacked (Debian package): network-manager" >&2
