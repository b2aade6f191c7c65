#!/bin/sh
# keepalived 2.2 is deaf and mute on an interface that was removed and has come back: it opens no sockets there again, and would
# take no address any more. So it is started anew.
#
# Usage: interface.sh DIRECTORY            when it starts: keep which interfaces there are
#        interface.sh DIRECTORY INTERFACE  when an instance becomes a backup: end keepalived where this is another interface by now
set -eu
directory=$1
cd /sys/class/net
if [ $# -eq 1 ]; then
  grep -H . ./*/ifindex > "$directory/interfaces"
elif [ -e "$2/ifindex" ] && ! grep -qxF "./$2/ifindex:$(cat "$2/ifindex")" "$directory/interfaces"; then
  kill "$(cat "$directory/keepalived.pid")"
fi
