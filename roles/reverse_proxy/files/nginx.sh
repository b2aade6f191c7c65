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

# Counts in shared memory have the number of a generation in their names. While counts of the one before may be left by a killed worker,
# nginx minds both for what may not happen meanwhile: locks of tags, and writes.
generation=$(cat /tmp/generation 2>/dev/null || echo 0)
former=$(cat /tmp/former 2>/dev/null || true)

# What lies there, and what this nginx makes of it.
copy() {
  case $1 in
    suspects)
      sed -e 's/auth-@instance@/suspects-@instance@/' -e 's,/tmp/auth\.pid,/tmp/suspects.pid,' \
        -e 's/^worker_processes .*/worker_processes 1;/' -e 's/^worker_priority .*/worker_priority 5;/' "$here/../auth/auth.conf"
      ;;
    *) cat "$here/../$1/$1.conf" ;;
  esac >"/tmp/$1.source.new"
  fill "/tmp/$1.source.new" >"/tmp/$1.conf.new"
}

fill() {
  sed -e "s/@instance@/$instance/g" -e "s/@generation@/$generation/g" \
    -e "$(if [ -n "$former" ]; then echo "s/@former@/$former/g"; else echo '/@former@/d'; fi)" "$1"
}

# It is what nginx reads from now on.
use() {
  mv "/tmp/$1.source.new" "/tmp/$1.source"
  mv "/tmp/$1.conf.new" "/tmp/$1.conf"
}

# Both that check passwords are told together.
all_of() {
  case $1 in
    auth) echo suspects auth ;;
    *) echo "$1" ;;
  esac
}

# The socket that only this instance of one that checks passwords listens at.
own_socket() {
  sed -n "s,^ *listen unix:\(.*\)auth-@instance@\(.*\);\$,\1$1-$instance\2,p" "$here/../auth/auth.conf"
}

# Whether an auth that listens at a socket does its work: it says "no" to a request without credentials.
refuses() {
  [ "$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 3 --unix-socket "$1" http://auth/)" = 401 ]
}

# It is asked from now on, in place of another one: once it answers, without a moment in between.
publish() {
  for kind in auth suspects; do
    own=$(own_socket $kind)
    asked=${own%-"$instance".sock}
    until refuses "$own"; do
      sleep 0.1
    done
    if ! [ "$own" -ef "$asked.sock" ]; then
      ln -f "$own" "$asked.next"
      mv -f "$asked.next" "$asked.sock"
    fi
    # What killed ones have left, without a listener (7).
    for other in "$asked"-*.sock; do
      answer=0
      curl --silent --output /dev/null --max-time 3 --unix-socket "$other" http://auth/ || answer=$?
      if [ "$answer" -eq 7 ]; then
        rm -f "$other"
      fi
    done
  done
}

start() {
  for part in $(all_of "$1"); do
    copy "$part"
    use "$part"
  done
  case $1 in
    auth)
      # A socket that a killed nginx has left keeps the next one from starting.
      rm -f "$(own_socket suspects)" "$(own_socket auth)"
      suspects &
      publish &
      ;;
    nginx)
      heal &
      rotate &
      ;;
  esac
  exec nginx -c "/tmp/$1.conf"
}

# The other one that checks passwords, for as long as the first one runs, started anew where it ends.
suspects() {
  until false; do
    nginx -c /tmp/suspects.conf || true
    sleep 1
    rm -f "$(own_socket suspects)"
  done
}

load() {
  for part in $(all_of "$1"); do
    copy "$part"
    use "$part"
    nginx -c "/tmp/$part.conf" -s reload
  done
}

# What a worker has counted in shared memory is counted for good where it is killed: its requests would never be ended, its tags never free,
# and a garbage collection would wait for ever. nginx goes on with new counts then, and minds the former ones until all that they can stand
# for has ended: the requests of the workers that knew them, and in the registry what the killed one has sent there.
heal() {
  while sleep 2 && ! [ -e /tmp/drained ]; do
    if grep -qs 'worker process [0-9]* exited' /tmp/alerts; then
      : >/tmp/alerts
      former=$generation
      generation=$((generation + 1))
      echo "$former" >/tmp/former
      echo "$generation" >/tmp/generation
      serving=$(workers)
      recount
      wait_for_end 900 "$serving"
      sleep 60
      former=
      rm -f /tmp/former
      recount
    fi
  done
}

# The log of requests is renamed when it has grown, so that there are at most two of them. Another nginx, which one replaces, writes to the
# same file: each of them opens the new one when it sees it.
rotate() {
  # What fails once is tried again: a log that is not renamed any more would fill the disk.
  set +e
  opened=
  while sleep 2; do
    log=$(sed -n 's,^ *access_log \(/[^ ]*/requests\.log\) .*,\1,p' /tmp/nginx.conf)
    [ -n "$log" ] || continue
    # One that was killed has left it.
    find "$log.lock" -maxdepth 0 -mmin +1 -exec rmdir {} \; 2>/dev/null
    if has_grown && ! [ -e /tmp/drained ] && mkdir "$log.lock" 2>/dev/null; then
      # Another nginx may have been quicker.
      has_grown && mv "$log" "$log.1"
      reopen
      rmdir "$log.lock"
    fi
    number=$(stat -c %i "$log" 2>/dev/null)
    if [ "$number" != "$opened" ]; then
      reopen
    fi
    opened=$number
  done
}

has_grown() {
  size=$(stat -c %s "$log" 2>/dev/null)
  [ "${size:-0}" -ge 33554432 ]
}

# By a signal: `nginx -s` reads the whole configuration first, which may be changing.
reopen() {
  kill -USR1 "$(cat /tmp/nginx.pid 2>/dev/null)" 2>/dev/null
}

# Of the configuration that nginx has: that which lies beside this may not have been tried yet.
recount() {
  [ -e /tmp/drained ] || {
    fill /tmp/nginx.source >/tmp/nginx.conf.new
    mv /tmp/nginx.conf.new /tmp/nginx.conf
    nginx -c /tmp/nginx.conf -s reload
  }
}

workers() {
  for process in /proc/[0-9]*; do
    if grep -qs '^nginx: worker' "$process/cmdline"; then
      echo "$process"
    fi
  done
}

# For so many seconds at most, until none of the processes is there any more.
wait_for_end() {
  waited=0
  for process in $2; do
    while [ -e "$process" ] && [ "$waited" -lt "$1" ]; do
      sleep 1
      waited=$((waited + 1))
    done
  done
}

# A reload without ports, not the end of all: what was begun is served by parts of this nginx that have to be there for it. The mark says
# that another one was found to be healthy, and is the one to keep.
drain() {
  touch /tmp/drained
  serving=$(workers)
  for part in $(all_of "$1"); do
    sed '/^ *listen [0-9]/d' "/tmp/$part.conf" >"/tmp/$part.conf.new"
    mv "/tmp/$part.conf.new" "/tmp/$part.conf"
    nginx -c "/tmp/$part.conf" -s reload
  done
  wait_for_end "$2" "$serving"
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
  for part in suspects auth nginx; do
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
