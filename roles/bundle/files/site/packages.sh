#!/bin/sh
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# packages.sh DIRECTORY PACKAGE...: puts packages of this distribution and all that they need into a directory, as a repository of apt
# without a network. Needs apt and nothing else.
set -eu
directory=$1
shift
mkdir -p "$directory"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/archives/partial"
# As if nothing was installed: the other host may lack what this one has.
: >"$work/status"
apt-get -qq update
apt-get -qq --yes --download-only --no-install-recommends \
  -o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root \
  install "$@" >/dev/null
rm -f "$directory"/*.deb
mv "$work"/archives/*.deb "$directory"
cd "$directory"
for package in *.deb; do
  dpkg-deb --field "$package"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$package" "$(stat -c %s "$package")" "$(sha256sum "$package" | cut -d' ' -f1)"
done >"$work/Packages"
mv "$work/Packages" Packages
