#!/bin/sh
# Pulls a release by its digest as `runtime`, and replaces the container.
# Settings: REGISTRY, IMAGE, TAG
# Secrets:  RUNTIME_PASSWORD
set -eu +x
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
needs REGISTRY IMAGE TAG RUNTIME_PASSWORD

log_in runtime "$RUNTIME_PASSWORD"

# What the release is, asked without loading it. curl reads the password from standard input.
release=apps/$IMAGE:${TAG#v}
kinds='application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json,'
kinds="$kinds application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
set -- --silent --show-error --fail --head --header "Accept: $kinds"
ca=$(ca_file)
[ ! -e "$ca" ] || set -- "$@" --cacert "$ca"
quoted=$(printf '%s' "$RUNTIME_PASSWORD" | sed 's/[\\"]/\\&/g')
unset RUNTIME_PASSWORD
said=$(printf 'user = "runtime:%s"\n' "$quoted" |
  curl --config - "$@" "https://$REGISTRY/v2/apps/$IMAGE/manifests/${TAG#v}") ||
  stop "$REGISTRY has no $release that runtime may pull. Promote it first."
digest=$(printf '%s\n' "$said" | tr -d '\r' | awk 'tolower($1) == "docker-content-digest:" { print $2 }')

pinned=$REGISTRY/apps/$IMAGE@$digest
docker pull "$pinned"
# Names of containers have no slash.
container=${IMAGE##*/}
docker rm --force "$container" >/dev/null 2>&1 || true
docker run --detach --name "$container" --restart unless-stopped "$pinned" >/dev/null
printf 'Deployed: %s, which is %s\n' "$pinned" "$release"
