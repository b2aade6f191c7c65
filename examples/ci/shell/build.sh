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

# Offline: no transparency log. cosign 2 puts the signature under a tag, cosign 3 a bundle beside the image. The gate takes both.
set -- --yes --tlog-upload=false --key "${COSIGN_KEY:-env://COSIGN_PRIVATE_KEY}"
# By default, cosign 3 asks the servers of Sigstore. Older versions do not know this option.
case $(cosign sign --help) in *--use-signing-config*) set -- "$@" --use-signing-config=false ;; esac
ca=$(ca_file)
[ ! -e "$ca" ] || set -- "$@" --registry-cacert "$ca"
# The digest and not the tag: what is signed is what was pushed.
cosign sign "$@" "$staged@$digest"
printf 'Pushed and signed: %s\n' "$staged@$digest"
