#!/bin/sh
# Lets the gate judge the image of a commit and make it a release. It writes as `promoter`.
# Settings: SITE (the directory of playbooks and inventories), IMAGE, COMMIT, TAG (v1.4.2 makes the release 1.4.2)
# Secrets:  PROMOTER_PASSWORD, which inventories/release reads from the environment
set -eu +x
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
needs SITE IMAGE COMMIT TAG PROMOTER_PASSWORD

release=${TAG#v}
case $release in
  *[!0-9.]* | *..* | .* | *. | *.*.*.*) known= ;;
  *.*.*) known=1 ;;
  *) known= ;;
esac
[ "$known" ] || stop "$TAG is not the tag of a release. Name it like v1.4.2."

cd "$SITE"
ansible-playbook -i inventories/release playbooks/promote.yml \
  -e "gate_image=staging/$IMAGE:$COMMIT" -e "gate_to=apps/$IMAGE:$release"
