#!/usr/bin/env bash
# Assembles in a folder the root filesystem that deploy/docker/Dockerfile ships. Usage: image-root.sh <folder>
#
# Holds the static binary, CA roots, a user database of one user, /data and /tmp; nothing else.
. "$(dirname "$0")/env.sh"

root="${1:?usage: scripts/image-root.sh <folder>}"
binary="${FAREGATE_BIN:-$RELEASE_DIR/faregate}"
[ -x "$binary" ] || die "$binary is not built: run scripts/static-build.sh"

roots=/etc/ssl/certs/ca-certificates.crt
[ -f "$roots" ] || die "$roots is missing: install the package ca-certificates"

mkdir -p "$root"/{etc/ssl/certs,data,tmp}
install -m 0755 "$binary" "$root/faregate"
install -m 0644 "$roots" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'faregate:x:65532:65532:faregate:/data:/faregate\n' >"$root/etc/passwd"
printf 'faregate:x:65532:\n' >"$root/etc/group"
chmod 1777 "$root/tmp"
chmod 0700 "$root/data"
if [ "$(id -u)" = 0 ]; then
  chown 65532:65532 "$root/data"
fi
