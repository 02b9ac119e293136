#!/usr/bin/env bash
# Tests the stack on a real Docker Engine. The demo's day must end with nothing lost and nothing duplicated, also with
# three workers while workers are killed and the database is restarted. The image must run without privileges on a
# read-only file system.
#
#   DC   the command of docker compose (default: docker compose); the images must be built
set -euo pipefail
DC=${DC:-docker compose}
dc() { $DC --profile demo "$@"; }
day() { # day NAME: one day of the demo; fails unless its last line says lost 0 and duplicated 0
  local line
  dc run --rm -T --no-deps demo >"day-$1.log" 2>&1 || true
  line=$(tail -1 "day-$1.log")
  echo "$1: $line"
  [[ $line == *'"lost": 0'* && $line == *'"duplicated": 0'* ]] || { tail -40 "day-$1.log"; dc ps -a; exit 1; }
}
trap 'rm -f day-*.log killed.log restarted.log' EXIT

dc up -d --wait demo-web demo-worker demo-platform demo-store
for _ in $(seq 300); do # `up` of the complete profile has started a day; two days at once would count the events of the other as duplicates
  [ -n "$(dc ps -q --status running demo)" ] || break
  sleep 1
done
day quiet

dc up -d --wait --scale demo-worker=3 demo-web demo-worker
faults() { # all three workers killed three times, and the database restarted in between
  for _ in 1 2 3; do
    sleep 2
    dc kill -s KILL demo-worker && echo killed >&3
    dc up -d --no-deps --scale demo-worker=3 demo-worker || true
    [ -s restarted.log ] || { dc restart -t 5 demo-db && echo yes >restarted.log; }
  done
}
faults 3>killed.log >/dev/null 2>&1 &
day killed
wait
[ "$(wc -l <killed.log)" = 3 ] && [ -s restarted.log ] || { echo 'the workers were not killed, or the database was not restarted'; exit 1; }

dc run --rm -T --no-deps --entrypoint sh demo-web -c 'touch /srv/x 2>/dev/null && exit 1; id -u | grep -qx 10001; relay --help >/dev/null'
echo '3 passed, 0 failed'
