#!/bin/sh
# machine: apt-get install of a local package in a Debian root under an overlay
# that is thrown away. Heavy: the root is made of packages that are fetched.
#
# The user makes the root itself, in the ids that subuid(5) gives it: of a tree
# that is root's nothing would have a number inside.
[ "${CLOISTER_TEST_ALL:-}" = 1 ] || { echo "heavy; run.sh --all runs it" && exit 77; }
. "${0%/*}/job.sh"
needs mmdebstrap newuidmap newgidmap dpkg-deb
serve

tree=$directory/home/root packages=$directory/packages
mode=system work=$directory/home log=$directory/mmdebstrap.log
if ! as_user env PATH="$PATH" TMPDIR="$work" mmdebstrap --mode=unshare --variant=apt \
  bookworm "$tree" >"$log" 2>&1; then
  tail -n 5 "$log"
  echo "mmdebstrap makes no root here"
  exit 77
fi

mkdir -p "$packages/hello/DEBIAN" "$packages/hello/usr/bin" "$packages/hello/var/lib/hello"
cat >"$packages/hello/DEBIAN/control" <<'EOF'
Package: cloister-hello
Version: 1
Architecture: all
Maintainer: Nobody <nobody@example.test>
Description: a package with a user of its own
EOF
cat >"$packages/hello/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
useradd --system --user-group --no-create-home hello
chown -R hello:hello /var/lib/hello
chmod 2750 /var/lib/hello
EOF
cat >"$packages/hello/usr/bin/cloister-hello" <<'EOF'
#!/bin/sh
echo "hello from $(id -un), groups $(id -Gn)"
EOF
echo data >"$packages/hello/var/lib/hello/data"
chmod 755 "$packages/hello/DEBIAN/postinst" "$packages/hello/usr/bin/cloister-hello"
cp /bin/true "$packages/hello/usr/bin/cloister-set-uid"
chmod 4755 "$packages/hello/usr/bin/cloister-set-uid"
dpkg-deb --root-owner-group -b "$packages/hello" "$packages/hello.deb" >/dev/null
rm -r "$packages/hello"

# machine LINE: a job in the tree.
machine() {
  job machine "$1" --workspace none --root "$tree" --ro "$packages:/srv"
}

install() {
  machine 'cp /srv/hello.deb /tmp && apt-get -y install /tmp/hello.deb &&
    stat -c "%U %G %a %n" /var/lib/hello /var/lib/hello/data /usr/bin/cloister-set-uid &&
    setpriv --reuid hello --regid hello --init-groups cloister-hello'
  check "apt-get installs a package" exited 0
  check "its script makes a user and gives it files" said '^hello hello 2750 /var/lib/hello$'
  check "which keep their modes" said '^hello hello 644 /var/lib/hello/data$'
  check "set-uid programs too" said '^root root 4755 /usr/bin/cloister-set-uid$'
  check "its program runs as that user, with its groups" said '^hello from hello, groups hello$'
  check "the tree is as it was" eval '[ ! -e "$tree/usr/bin/cloister-hello" ] &&
    ! grep -q hello "$tree/etc/passwd" "$tree/var/lib/dpkg/status"'

  machine 'dpkg -s cloister-hello'
  check "the next job has the tree as it was" exited 1
  machine 'dpkg --configure -a && apt-get check && rm -rf /usr/share/doc && ls -ln / &&
    chown 4321:1234 /var/tmp && stat -c "%u %g" /var/tmp'
  check "files of the tree can be removed and given away" said '^4321 1234$'
  machine 'cat /proc/self/uid_map; unshare --mount true'
  check "its uid 0 is one of the user's subordinate ids" \
    said "^ +0 +$(sed -n "s/^$user:\([0-9]*\):.*/\1/p" /etc/subuid) "
  check "with no power over mounts" eval '[ "$code" != 0 ] && said "unshare: .*not permitted"'
}
in_each_mode install
finished
