#!/usr/bin/env bash
# The container image; without a container engine, the same root filesystem tested with chroot.
. "$(dirname "$0")/env.sh"

for engine in docker podman; do
  if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
    version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"
    exec "$engine" build --file deploy/docker/Dockerfile --build-arg "VERSION=$version" \
      --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
      --tag "faregate:$version" --tag faregate:latest .
  fi
done
say "no container engine answers: testing the image's root filesystem with chroot"
exec scripts/image-test.sh
