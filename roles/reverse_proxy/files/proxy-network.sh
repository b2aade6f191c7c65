#!/bin/sh
# Docker starts containers in any order when it starts, gives up on one whose network is that of a container that is not there yet, and
# leaves one alone whose network was started anew, so that it hears nobody. This starts them again.
#
# Usage: proxy-network CONTAINER LABEL: the container that holds the network, and the label of those in it.
set -eu
network=$1
label=$2

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
  since=$(started "$network")
  for container in $(docker ps --all --quiet --filter "label=$label"); do
    if [ "$(started "$container")" -lt "$since" ]; then
      docker restart "$container" || echo "$container can't be started in the network of $network" >&2
    fi
  done
}

# What happens between the first look and the first event is among the events, too.
since=$(date +%s)
join
docker events --since "$since" --filter type=container --filter event=start --filter "container=$network" --format '{{.ID}}' |
  while read -r _; do
    join
  done
# The engine has ended. systemd starts this again.
exit 1
