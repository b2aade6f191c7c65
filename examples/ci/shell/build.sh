#!/bin/sh
# Builds the image of a commit, pushes it to staging as `ci`, and signs it with the key of the build.
# Settings: REGISTRY, IMAGE, COMMIT
# Secrets:  BUILD_PASSWORD (of the user ci), COSIGN_PASSWORD, and COSIGN_KEY (a file) or COSIGN_PRIVATE_KEY (its content)
set -eu +x
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
needs REGISTRY IMAGE COMMIT BUILD_PASSWORD COSIGN_PASSWORD
[ -n "${COSIGN_KEY:-}" ] || needs COSIGN_PRIVATE_KEY

log_in ci "$BUILD_PASSWORD"
unset BUILD_PASSWORD

staged=$REGISTRY/staging/$IMAGE
docker build --tag "$staged:$COMMIT" --label "org.opencontainers.image.revision=$COMMIT" .
said=$(docker push "$staged:$COMMIT")
digest=$(printf '%s\n' "$said" | sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p')
[ -n "$digest" ] || stop "docker push told no digest of $staged:$COMMIT: $said"

# Offline: no transparency log, and the form of signature that Podman reads, too.
set -- --yes --tlog-upload=false --key "${COSIGN_KEY:-env://COSIGN_PRIVATE_KEY}"
knows=$(cosign sign --help)
# cosign 3 has other defaults. Older versions do not know these options.
for option in --use-signing-config --new-bundle-format; do
  case $knows in *"$option"*) set -- "$@" "$option=false" ;; esac
done
ca=$(ca_file)
[ ! -e "$ca" ] || set -- "$@" --registry-cacert "$ca"
# The digest and not the tag: what is signed is what was pushed.
cosign sign "$@" "$staged@$digest"
printf 'Pushed and signed: %s\n' "$staged@$digest"
