#!/bin/sh
# Whether keepalived takes a configuration: keepalived-test.sh FILE. keepalived 2.2 ends its test by a signal to itself where the
# configuration has a script, whatever it has found. There, the test has passed if nothing was said.
said=$(/usr/sbin/keepalived --config-test --vrrp --use-file "$1" 2>&1)
status=$?
if [ "$status" -eq 0 ] || { [ "$status" -eq 143 ] && [ -z "$said" ]; }; then
  exit 0
fi
echo "$said" >&2
exit 1
