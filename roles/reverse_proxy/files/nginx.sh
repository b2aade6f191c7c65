#!/bin/sh
# Runs an nginx of the proxy on a copy of its configuration: what it has loaded stays as it was while the files change for the nginx that
# replaces it. Lies beside the configuration, in the container; those of nginx and auth are in directories of these names.
#
# Usage: nginx.sh start NAME          runs it in the foreground
#        nginx.sh test NAME           reads what lies there, as `load` would
#        nginx.sh load NAME           goes on by what lies there
#        nginx.sh publish             has passwords checked by this auth and no other one
#        nginx.sh drain NAME SECONDS  closes its ports, and waits until what it serves has ended, for so long at most
#        nginx.sh try SECONDS         runs all of it for a moment, asks what it answers, for so long at most until it is what it should
#                                     be, and fails with what is wrong with it; reads the header of a right password from standard
#                                     input, as `curl --config` takes it
# NAME is nginx or auth.
set -eu

here=$(dirname "$0")
# Two of a kind run for a moment when one replaces the other: each listens at a socket that has its own name in it.
instance=$(uname -n)

copy() {
  sed "s/@instance@/$instance/g" "$here/../$1/$1.conf" >"/tmp/$1.conf.new"
}

# It is what nginx reads from now on.
use() {
  mv "/tmp/$1.conf.new" "/tmp/$1.conf"
}

# The socket that only this instance of auth listens at.
own_socket() {
  sed -n "s/^ *listen unix:\(.*@instance@.*\);\$/\1/p" "$here/../auth/auth.conf" | sed "s/@instance@/$instance/"
}

# Whether an auth that listens at a socket does its work: it says "no" to anybody.
refuses() {
  [ "$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 3 --unix-socket "$1" http://auth/)" = 401 ]
}

# It is asked from now on, in place of another one: once it answers, and at no moment nobody.
publish() {
  own=$(own_socket)
  asked=${own%-"$instance".sock}
  until refuses "$own"; do
    sleep 0.1
  done
  if ! [ "$own" -ef "$asked.sock" ]; then
    ln -f "$own" "$asked.next"
    mv -f "$asked.next" "$asked.sock"
  fi
  # What killed ones have left, where nobody listens any more (7).
  for other in "$asked"-*.sock; do
    answer=0
    curl --silent --output /dev/null --max-time 3 --unix-socket "$other" http://auth/ || answer=$?
    if [ "$answer" -eq 7 ]; then
      rm -f "$other"
    fi
  done
}

start() {
  copy "$1"
  use "$1"
  if [ "$1" = auth ]; then
    # A socket that a killed nginx has left keeps the next one from starting.
    rm -f "$(own_socket)"
    publish &
  fi
  exec nginx -c "/tmp/$1.conf"
}

load() {
  copy "$1"
  use "$1"
  nginx -c "/tmp/$1.conf" -s reload
}

workers() {
  for process in /proc/[0-9]*; do
    if grep -qs '^nginx: worker' "$process/cmdline"; then
      echo "$process"
    fi
  done
}

# A reload without ports, not the end of all: what was begun is served by parts of this nginx that have to be there for it. The mark says
# that another one was found to be healthy, and is the one to keep.
drain() {
  touch /tmp/drained
  sed '/^ *listen [0-9]/d' "/tmp/$1.conf" >"/tmp/$1.conf.new"
  use "$1"
  serving=$(workers)
  nginx -c "/tmp/$1.conf" -s reload
  waited=0
  for process in $serving; do
    while [ -e "$process" ] && [ "$waited" -lt "$2" ]; do
      sleep 1
      waited=$((waited + 1))
    done
  done
}

# Whether what is asked for, with the options of curl, is answered by one of the codes wanted, in time.
expect() {
  wanted=$1
  asked=$2
  while :; do
    said=$(printf '%s' "$secret" | curl --silent --insecure --output /dev/null --write-out '%{http_code}' --max-time 10 \
      --unix-socket /tmp/front.sock --config - "https://localhost$asked") || true
    case " $wanted " in
      *" $said "*) return ;;
    esac
    if [ "$(date +%s)" -ge "$deadline" ]; then
      echo "it answers $said, and not ${wanted%% *}, to a request for $asked $3"
      exit 1
    fi
    sleep 0.5
  done
}

try() {
  deadline=$(($(date +%s) + $1))
  password=$(cat)
  for part in auth nginx; do
    copy "$part"
    use "$part"
    nginx -c "/tmp/$part.conf" &
  done
  publish &
  secret=
  expect "200" /healthz "(the registry behind it has to answer)"
  # 403 where who asks from here is in none of the networks that are served, or has no certificate to show.
  expect "401 403" /v2/ "without a password"
  secret=$password
  expect "200 403" /v2/ "with a right password"
}

case $1 in
  start) start "$2" ;;
  test) copy "$2" && nginx -t -q -c "/tmp/$2.conf.new" ;;
  load) load "$2" ;;
  drain) drain "$2" "$3" ;;
  publish) publish ;;
  try) try "$2" ;;
  *)
    echo "nginx.sh: no such command: $1" >&2
    exit 2
    ;;
esac
