#!/bin/sh
# Tools that keep modes, in a box: what they leave in the workspace has no set-uid
# bit, and the rest of their work is done. What fails does so as security.md says.
. "${0%/*}/job.sh"
needs tar install git dpkg-deb find
serve

no_set_uid() { [ -z "$(find "$work" -perm /4000 -print -quit)" ]; }
mode_of() { stat -c %a "$1"; }
is() { [ "$1" = "$2" ]; }

tools() {
  # Set-uid files that somebody else made, to be unpacked and copied.
  as_user sh -c 'mkdir -p tree/bin && cp /bin/true tree/bin/tool && chmod 4755 tree/bin/tool &&
    chmod 755 tree && echo data >tree/data && tar -cpf tree.tar tree &&
    mkdir shared && chmod 2775 shared && mkdir shared/below && echo x >shared/below/file'
  rm -rf "$directory/tree" && mv "$work/tree" "$directory/tree"

  job build 'install -m 4755 /bin/true installed'
  check "install -m 4755 fails" eval '[ "$code" != 0 ] && said "Operation not permitted"'
  job build 'install -m 755 /bin/true plain'
  check "install -m 755 works" exited 0

  job build 'mkdir out && tar -C out -xpf tree.tar'
  check "tar -xp says that it could not set the mode" exited 2
  check "and has unpacked the file" cmp "$work/out/tree/bin/tool" /bin/true
  job build 'mkdir again && tar -C again -xf tree.tar --no-same-permissions'
  check "tar without it has no complaint" exited 0

  if command -v rsync >/dev/null; then
    job build 'rsync -a /srv/ copied/' --ro "$directory/tree:/srv"
    check "rsync -a says that it could not set the mode" exited 23
    check "and has copied the rest" holds "$work/copied/data" data
    job build 'rsync -a --no-perms /srv/ plainly/' --ro "$directory/tree:/srv"
    check "rsync without modes has no complaint" exited 0
  else
    echo "skipped rsync ($mode) (rsync is missing)" && skipped=$((skipped + 1))
  fi

  job build 'git init -q --shared repository && cd repository && echo x >file && git add file &&
    git -c user.name=u -c user.email=u@example.test commit -q -m one'
  check "git init --shared works" exited 0
  check "its directories have the set-gid bit" is "$(mode_of "$work/repository/.git/objects")" 2775
  job build 'cp -a shared kept'
  check "cp -a keeps a set-gid directory" exited 0
  check "with its bit, and that of what is in it" \
    is "$(mode_of "$work/kept") $(mode_of "$work/kept/below")" "2775 2755"

  job build 'mkdir -p package/DEBIAN package/usr/bin && cp /bin/true package/usr/bin/tool &&
    printf "Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.test>\nDescription: d\n" \
      >package/DEBIAN/control && dpkg-deb --root-owner-group -b package tool.deb'
  check "dpkg-deb builds a package" exited 0
  job build 'dpkg-deb -x /srv/tool.deb unpacked' --ro "$directory/packages:/srv"
  check "dpkg-deb -x of one with a set-uid program fails" eval '[ "$code" != 0 ]'
  check "no file in the workspace has the set-uid bit" no_set_uid

  if grep -q "^$user:" /etc/subuid && command -v newuidmap >/dev/null; then
    job default 'dpkg-deb -x /srv/tool.deb /tmp/unpacked && stat -c %a /tmp/unpacked/usr/bin/tool' \
      --request "$directory/apart.json" --ro "$directory/packages:/srv"
    check "with ids that are apart dpkg-deb -x unpacks it" said '^4755$'
  else
    echo "skipped ids that are apart ($mode) ($user has no subordinate ids, or there is no newuidmap)"
    skipped=$((skipped + 1))
  fi
}
echo '{"namespaces": {"user": "new"}, "uid_map": "subordinate", "gid_map": "subordinate",
  "identity": {"ruid": 0, "rgid": 0, "groups": []}}' >"$directory/apart.json"

mkdir -p "$directory/packages/tool/DEBIAN" "$directory/packages/tool/usr/bin"
printf 'Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.test>\nDescription: d\n' \
  >"$directory/packages/tool/DEBIAN/control"
cp /bin/true "$directory/packages/tool/usr/bin/tool"
chmod 4755 "$directory/packages/tool/usr/bin/tool"
dpkg-deb --root-owner-group -b "$directory/packages/tool" "$directory/packages/tool.deb" >/dev/null
rm -r "$directory/packages/tool"
in_each_mode tools
finished
