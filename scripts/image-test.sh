#!/usr/bin/env bash
# Runs the image's root filesystem with chroot as its non-root user and asks it for an answer.
. "$(dirname "$0")/env.sh"

if [ "$(id -u)" != 0 ]; then
  echo "image test skipped: chroot needs root"
  exit 0
fi
scripts/setup.sh curl
[ -x "${FAREGATE_BIN:-$RELEASE_DIR/faregate}" ] || scripts/static-build.sh

root="$(mktemp -d)"
log="$(mktemp)"
pid=""
cleanup() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  rm -rf "$root" "$log"
}
trap cleanup EXIT
scripts/image-root.sh "$root"
chmod 0755 "$root"

size=$(du -sb "$root" | cut -f1)
[ "$size" -le 42000000 ] || die "the image passed 42 MB: $size bytes"

# Container engines put these devices into every container; the random numbers of a statically linked
# program come from there.
mkdir -p "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9

# env -i: an image has no environment but its own.
chroot="$(PATH="$PATH:/usr/sbin" command -v chroot)"
env -i FAREGATE_DATA_DIR=/data HOME=/data PATH=/ \
  "$chroot" --userspec=65532:65532 "$root" /faregate --host 127.0.0.1 --port 0 >"$log" 2>&1 &
pid=$!

url=""
for _ in $(seq 200); do
  url="$(grep -oE 'listening on http://[0-9.:]+' "$log" | head -1 | sed 's/.* //' || true)"
  [ -z "$url" ] || break
  kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; die "the gateway stopped while starting"; }
  sleep 0.05
done
[ -n "$url" ] || { cat "$log" >&2; die "the gateway did not say where it listens"; }

curl --fail --silent --show-error "$url/health/liveliness" >/dev/null
"$chroot" --userspec=65532:65532 "$root" /faregate health --url "$url" >/dev/null
# The command of the image's HEALTHCHECK.
PORT="${url##*:}" "$chroot" --userspec=65532:65532 "$root" /faregate --health >/dev/null
[ "$(stat -c %u "$root/data/master_key")" = 65532 ] || die "the master key is not the user's own"
[ "$(stat -c %a "$root/data/master_key")" = 600 ] || die "the master key can be read by others"
answer="$(curl --fail --silent --show-error "$url/v1/chat/completions" \
  -H "Authorization: Bearer $(cat "$root/data/master_key")" -H 'Content-Type: application/json' \
  -d '{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}')"
grep -q '"object": *"chat.completion"' <<<"$answer" || die "not a chat completion: $answer"
[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 65532 ] || die "the gateway does not run as user 65532"

kill -TERM "$pid"
status=0
wait "$pid" || status=$?
pid=""
[ "$status" = 0 ] || { cat "$log" >&2; die "SIGTERM ended the gateway with status $status"; }
printf 'image test ok: %d.%d MB, user 65532, demo answered, clean stop\n' \
  $((size / 1000000)) $((size % 1000000 / 100000))
