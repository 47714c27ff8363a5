#!/bin/sh
# What `meson install` ends with on a machine that runs: the group and the
# directories of the service exist, and systemd has read its units. Into a
# DESTDIR, or by somebody but root, nothing of this is done; docs/install.md has it.
set -eu
[ -z "${DESTDIR:-}" ] && [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] || exit 0
systemd-sysusers "$MESON_INSTALL_PREFIX/lib/sysusers.d/cloister.conf"
systemd-tmpfiles --create "$MESON_INSTALL_PREFIX/lib/tmpfiles.d/cloister.conf"
systemctl daemon-reload
