#!/bin/sh
# The pipeline without a CI system: `sh ci/pipeline.sh build` for a commit, `sh ci/pipeline.sh release v1.4.2` for its release.
# SECRETS is a directory with build.env, promote.env and deploy.env, mode 0600. Each has the variables of one stage, as NAME='value'.
# REGISTRY, IMAGE and SITE are in the environment.
set -eu +x
here=$(cd "$(dirname "$0")" && pwd)

# A stage sees its own secrets alone.
stage() (
  file=${SECRETS:?is not set. Set it to the directory of the secrets.}/$1.env
  if [ -n "$(find "$file" -perm -0040 -o -perm -0004)" ]; then
    printf '%s can be read by other accounts. Give it the mode 0600.\n' "$file" >&2
    exit 1
  fi
  set -a
  # shellcheck source=/dev/null
  . "$file"
  exec sh "$here/$1.sh"
)

COMMIT=${COMMIT:-$(git rev-parse HEAD)}
export COMMIT
case ${1-} in
  build) stage build ;;
  release)
    TAG=${2:?is missing. Give the tag of the release, such as v1.4.2.}
    export TAG
    stage promote
    stage deploy
    ;;
  *)
    printf 'Give build, or release and a tag: sh %s release v1.4.2\n' "$0" >&2
    exit 2
    ;;
esac
