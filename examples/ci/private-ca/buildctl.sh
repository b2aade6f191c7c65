#!/bin/sh
# The build without an engine: buildctl-daemonless.sh of the image moby/buildkit starts buildkitd for one build. The login is that of
# DOCKER_CONFIG.
# Settings: REGISTRY, IMAGE, COMMIT, BUILDKITD_TOML (examples/ci/private-ca/buildkitd.toml)
set -eu
export BUILDKITD_FLAGS="--config=$BUILDKITD_TOML"
buildctl-daemonless.sh build --frontend dockerfile.v0 --local context=. --local dockerfile=. \
  --metadata-file metadata.json --output "type=image,name=$REGISTRY/staging/$IMAGE:$COMMIT,push=true"
