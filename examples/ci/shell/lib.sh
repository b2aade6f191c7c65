# shellcheck shell=sh
# What the steps share. Each of them begins with `set +x`, since a trace of a shell shows passwords.

stop() {
  printf '%s\n' "$*" >&2
  exit 1
}

# needs NAME...: stops unless each of these variables has a value.
needs() {
  for name; do
    eval "[ -n \"\${$name:-}\" ]" || stop "$name is not set. Set it for this stage of the pipeline."
  done
}

# The file by which hosts of the collection trust the registry. It does not exist where a public CA has issued the certificate.
ca_file() {
  printf '%s' "${REGISTRY_CA:-/etc/docker/certs.d/$REGISTRY/ca.crt}"
}

# log_in USER PASSWORD: into a configuration of this step alone, which is removed at its end.
log_in() {
  # buildx keeps its builders beside the configuration of the account, and would not find them beside that of the step.
  BUILDX_CONFIG=${BUILDX_CONFIG:-${DOCKER_CONFIG:-${HOME:-}/.docker}/buildx}
  # mktemp makes it with the mode 0700.
  DOCKER_CONFIG=$(mktemp -d)
  export BUILDX_CONFIG DOCKER_CONFIG
  trap 'rm -rf "$DOCKER_CONFIG"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # On standard input: the arguments of a program are visible to all accounts of the machine.
  printf '%s' "$2" | docker login --username "$1" --password-stdin "$REGISTRY"
}
