#!/bin/sh
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# install.sh DIRECTORY PACKAGE...: installs those of the packages that are missing from a repository that packages.sh has made, and from
# nowhere else. Says "installed" where it has. The directory must be verified before.
set -eu
directory=$1
shift
missing=
for package in "$@"; do
  case $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
    ii*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"
echo "deb [trusted=yes] file:$directory ./" >"$work/sources.list"
from_here() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends -o APT::Sandbox::User=root \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists" "$@"
}
from_here update
# Each word is the name of a package.
# shellcheck disable=SC2086
from_here install $missing >/dev/null
echo installed
