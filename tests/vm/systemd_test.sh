#!/bin/sh
# docs/install.md in a Debian that is booted with systemd, as `meson install` and
# as a package: a member of the group, a stranger, a broken configuration, a
# service of a user's own, an upgrade, a removal. Debian comes from its archive;
# the programs are those of this build.
#
#   systemd_test.sh SOURCES BUILD PREFIX
set -eu
[ -n "${CLOISTER_TEST_ALL:-}" ] || { echo "takes minutes (run.sh --all)" && exit 77; }
sources=$1 build=$2 prefix=$3
PATH=$PATH:/usr/sbin:/sbin
for tool in debootstrap systemd-nspawn dpkg-buildpackage dh dh_installsysusers meson; do
  command -v $tool >/dev/null || { echo "$tool is missing (run.sh --all installs it)" && exit 77; }
done
[ "$prefix" = /usr ] || { echo "this build is for $prefix, a package is for /usr: meson configure -Dprefix=/usr" && exit 77; }
[ -e "$build/docs/cloister.1" ] || { echo "the manual pages are not built (scdoc)" && exit 77; }
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
directory=$(mktemp -d /var/tmp/cloister-systemd-XXXXXX)
trap 'rm -rf --one-file-system "$directory"' EXIT
trap 'exit 130' INT TERM
cd "$directory"

# The packages: of what is built already, one version and the next.
mkdir source && cp -r "$sources/debian" "$sources/docs" "$sources/README.md" source/
(cd source && CLOISTER_BUILD=$build dpkg-buildpackage -b -uc -us -d) >package.log 2>&1 ||
  { tail -n 40 package.log && exit 1; }
package=$(ls cloister_*.deb)
dpkg-deb -R "$package" unpacked
sed -i 's/^Version: .*/&+next/' unpacked/DEBIAN/control
mkdir -p files
dpkg-deb -b --root-owner-group unpacked files/two.deb >/dev/null
cp "$package" files/one.deb
cp libcloister0_*.deb files/library.deb
# A program of somebody's, by the development package.
for each in libcloister0_*.deb libcloister-dev_*.deb; do dpkg-deb -x "$each" development; done
folder=$(dirname "$(find "$PWD/development" -name libcloister.pc)")
export PKG_CONFIG_PATH=$folder PKG_CONFIG_SYSROOT_DIR=$PWD/development
# shellcheck disable=SC2046 # lists of words
c++ $(pkg-config --cflags libcloister) -o files/example "$sources/tests/system/readme_example.cpp" \
  $(pkg-config --libs libcloister) || { echo "FAILED the README's example does not compile" && exit 1; }
DESTDIR=$directory/installed meson install -C "$build" --no-rebuild --quiet
tar -C installed -cf files/installed.tar .
cp "$sources/systemd/after_install.sh" files/
echo '{"argv": ["true"]}' >files/request.json

debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,procps,libseccomp2,libstdc++6 \
  "$suite" root >debootstrap.log 2>&1 || {
  tail -n 3 debootstrap.log
  echo "Debian $suite is not to be had here"
  exit 77
}
mv files root/cloister
cp "$sources/tests/vm/systemd_guest.sh" root/cloister/guest.sh
cat >root/etc/systemd/system/guest.service <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /cloister/guest.sh
StandardOutput=file:/log
StandardError=file:/log
UNIT
mkdir -p root/etc/systemd/system/multi-user.target.wants
ln -s ../guest.service root/etc/systemd/system/multi-user.target.wants/

# It wants a /run of its own, and a whole cgroup v2 whatever this host has.
timeout 300 unshare -m sh -c 'mount -t tmpfs tmpfs /run &&
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes exec systemd-nspawn --quiet \
    --directory=root --boot --register=no --keep-unit --capability=all --system-call-filter=@keyring --private-network \
    --machine=cloister-test --console=read-only' </dev/null >boot.log 2>&1 || true
[ -s root/log ] || { tail -n 20 boot.log && echo "systemd-nspawn boots nothing here" && exit 77; }
grep -aE '^(ok|FAILED|skipped|==) ' root/log || true
awk '
  /^outcome: / { p = $2; f = $4; s = $6 }
  /^guest: all was run/ { whole = 1 }
  END {
    if (!whole) { print "FAILED the machine did not come to its end"; f++ }
    printf "outcome: %d passed, %d failed, %d skipped\n", p, f, s
    exit f > 0
  }' root/log || { tail -n 20 boot.log && exit 1; }
