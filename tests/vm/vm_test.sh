#!/bin/sh
# The oldest kernel that we say we run on, and what is a whole machine's own:
# boots Debian 12's Linux 6.1 in an emulator, with a disk of this host's programs
# and of ours, and runs guest.sh there. Nothing of this host's kernel is used, so
# the clock may jump and core_pattern may change.
#
#   vm_test.sh SOURCES PROBE SYSTEM_TESTS SECURITY_TESTS SCHEMA PROGRAM...
set -eu
[ -n "${CLOISTER_TEST_ALL:-}" ] || { echo "takes minutes (run.sh --all)" && exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "for x86_64 only" && exit 77; }
for tool in qemu-system-x86_64 busybox mke2fs cpio modprobe depmod jq systemd-tmpfiles; do
  PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null ||
    { echo "$tool is missing (run.sh --all installs it)" && exit 77; }
done
PATH=/usr/sbin:/usr/bin:/sbin:/bin
! ldd "$(command -v busybox)" >/dev/null 2>&1 || { echo "busybox-static is missing" && exit 77; }
sources=$1 probe=$2
directory=$(mktemp -d /var/tmp/cloister-vm-XXXXXX)
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
cd "$directory"

# Debian's own kernel of that version: taken out of its package, not installed.
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
[ -n "$package" ] || { echo "Debian's linux-image-cloud-amd64 is not to be had here" && exit 77; }
chmod 755 .
apt-get -q download "$package" >download.log 2>&1 || { cat download.log && exit 77; }
dpkg-deb -x "$package"*.deb kernel
version=$(basename kernel/lib/modules/*)
depmod -b kernel "$version"

# The root: files of Debian packages as they are installed here, and ours where
# the build has them.
mkdir -p root/usr/bin root/usr/sbin root/usr/lib root/usr/lib64 root/etc
for link in bin sbin lib lib64; do ln -s usr/$link root/$link; done
essential=$(dpkg-query -Wf '${Package} ${Essential}\n' | awk '$2 == "yes" { print $1 }')
# shellcheck disable=SC2086 # a list of words
packages=$(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts \
  --no-breaks --no-replaces --no-enhances $essential passwd procps systemd uidmap iproute2 \
  libstdc++6 libseccomp2 util-linux | grep '^[a-z0-9]' | sort -u)
for each in $packages; do dpkg-query -L "$each" 2>/dev/null || true; done |
  grep -vE '^/usr/share/(doc|man|locale|info|zoneinfo)/|^/(\.|boot|s?bin|lib|lib64)$|^/etc/(passwd|group|shadow)$' |
  sort -u >files
tar -C / -c --no-recursion --ignore-failed-read -T files 2>/dev/null |
  tar -C root -x --keep-directory-symlink
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >root/etc/passwd
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >root/etc/group
: >root/etc/subuid
: >root/etc/subgid
shift 2
for program in "$probe" "$@"; do
  mkdir -p "root$(dirname "$program")"
  cp "$program" "root$program"
done
shift 3
build=$(dirname "$1")
mkdir -p "root$build/config" "root$sources/config" "root$sources/systemd"
cp -r "$sources/config/profiles" "root$build/config/"
cp -r "$sources/config/profiles" "root$sources/config/"
cp "$sources/systemd/tmpfiles.conf" root/usr/lib/tmpfiles.d/cloister.conf
cp "$sources/tests/vm/guest.sh" root/guest.sh
ln -s "$build" root/cloister
mkdir -p root/proc root/sys root/dev root/run root/tmp root/var/tmp root/var/lib root/root
truncate -s 1G disk
mke2fs -q -t ext4 -O ^has_journal -d root disk

# What finds the disk.
mkdir -p first/bin first/modules first/dev first/root
cp "$(command -v busybox)" first/bin/busybox
for module in virtio_pci virtio_blk overlay; do
  modprobe -d kernel -S "$version" --show-depends $module
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >modules
number=10
while read -r module; do
  cp "$module" first/modules/$number.ko
  number=$((number + 1))
done <modules
cat >first/init <<'INIT'
#!/bin/busybox sh
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /bin/sh /guest.sh
INIT
chmod 755 first/init
(cd first && find . | cpio -o -H newc --quiet | gzip -1) >first.gz

timeout 900 qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 2G -cpu max -nographic \
  -no-reboot -nic none -kernel kernel/boot/vmlinuz-* -initrd first.gz \
  -append "console=ttyS0 quiet panic=-1" -drive file=disk,if=virtio,format=raw \
  </dev/null >log 2>&1 || true
tr -d '\r' <log | grep -aE '^(ok|FAILED|skipped|row|==|cloister) ?|ERROR|values:|logged:' | cut -c1-500 || true
tr -d '\r' <log | awk '
  /^outcome: / { p += $2; f += $4; s += $6; runs++ }
  /^guest: all was run/ { whole = 1 }
  END {
    if (!whole) { print "FAILED the machine did not come to its end"; f++ }
    else if (runs != 7) { print "FAILED " 7 - runs " of the parts of guest.sh did not say how they went"; f++ }
    printf "outcome: %d passed, %d failed, %d skipped\n", p, f, s
    exit f > 0
  }' || { tail -n 40 log && exit 1; }
