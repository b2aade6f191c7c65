#!/bin/sh
# The network of the proxy belongs to a container of its own, which sleeps.
#
# proxy-network limit CONTAINER DIRECTORY [--check]
#   Loads the rules of DIRECTORY that count connections by address into the network of CONTAINER, where it has not got them, and says
#   "changed" then. With --check it only says so.
# proxy-network follow CONTAINER LABEL DIRECTORY
#   Docker starts containers in any order when it starts, gives up on one whose network is that of a container that is not there yet, and
#   leaves one alone whose network was started anew, so that it hears nothing. This starts those with LABEL again, and counts connections
#   in the new network before.
set -eu
action=$1
network=$2

# ---- connections by address -----------------------------------------------------------------------------------------------------------

# Runs a command in the network of the container. By its file and not by the process, which would take more rights to look at.
within() {
  nsenter --net="$key" "$@"
}

limit() {
  key=$(docker inspect --format '{{.NetworkSettings.SandboxKey}}' "$network") || return
  if [ -z "$key" ]; then
    echo "$network does not run, so that its network can't be limited" >&2
    return 1
  fi
  for tool in iptables ip6tables; do
    rules=$1/$tool.rules
    # A kernel without IPv6 has nothing to count.
    if [ "$tool" = ip6tables ] && [ ! -e /proc/net/if_inet6 ]; then
      continue
    fi
    for needed in "$tool-restore" nsenter; do
      if ! command -v "$needed" >/dev/null; then
        echo "$needed is not installed. Install the packages iptables and util-linux." >&2
        return 1
      fi
    done
    # The rules carry a sum of themselves.
    sum=$(sed -n 's/.*--comment \([0-9a-f]*\).*/\1/p' "$rules")
    if [ -z "$sum" ]; then
      echo "$rules has no rules" >&2
      return 1
    fi
    if within "$tool" --wait 10 --list-rules INPUT | grep --quiet --fixed-strings -- "$sum"; then
      continue
    fi
    echo changed
    if [ "${2-}" != --check ]; then
      within "$tool-restore" --wait 10 <"$rules" || return
    fi
  done
}

# ---- containers in the network --------------------------------------------------------------------------------------------------------

started() {
  at=$(docker inspect --format '{{.State.StartedAt}}' "$1")
  case $at in
    # Never.
    0001-*) echo 0 ;;
    # Seconds and nanoseconds as one number: the engine drops the zeros at the end.
    *) date --date="$at" +%s%N ;;
  esac
}

join() {
  if [ "$(docker inspect --format '{{.State.Running}}' "$network" 2>/dev/null)" != true ]; then
    return
  fi
  # A registry without a limit is better than none.
  limit "$directory" || echo "connections to $network are not counted" >&2
  there=$(started "$network")
  for container in $(docker ps --all --quiet --filter "label=$label"); do
    if [ "$(started "$container")" -lt "$there" ]; then
      docker restart "$container" || echo "$container can't be started in the network of $network" >&2
    fi
  done
}

follow() {
  # What happens between the first look and the first event is among the events, too.
  since=$(date +%s)
  join
  # One event, or the end of the engine, ends this. systemd starts it again, in a view of the file system in which the new network lies.
  docker events --since "$since" --filter type=container --filter event=start --filter "container=$network" --format '{{.ID}}' |
    if read -r _; then
      # "docker events" would wait for another one.
      kill $$
    fi
}

case $action in
  limit)
    limit "$3" "${4-}"
    ;;
  follow)
    label=$3
    directory=$4
    follow
    ;;
  *)
    echo "proxy-network: unknown action $action" >&2
    exit 2
    ;;
esac
