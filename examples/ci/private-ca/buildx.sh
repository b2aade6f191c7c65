#!/bin/sh
# Makes the builder of docker buildx in a container, once for an account of a host. It reads the CA now: after a new CA, make it anew.
# Then `docker build` uses it, with `--push` in place of `docker push`, since its images are not in the engine.
set -eu
docker buildx create --name wharf --driver docker-container --config "${1:?is missing. Give the path of buildkitd.toml.}" --use
