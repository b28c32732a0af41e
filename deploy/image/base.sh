#!/bin/sh
# Debian's packages → a base image with Python, for where no registry of images can be reached.
# As root, with debootstrap and buildah: deploy/image/base.sh NAME
set -eu
name=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root"
# What only packages being installed and people reading manuals need.
rm -rf "$root"/dev/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
  "$root"/usr/share/doc/* "$root"/usr/share/info/* "$root"/usr/share/man/* \
  "$root"/usr/share/locale/*
container=$(buildah from scratch)
buildah copy --quiet "$container" "$root" / >/dev/null
buildah config --cmd python3 --env LANG=C.UTF-8 "$container"
buildah commit --quiet --rm "$container" "$name"
