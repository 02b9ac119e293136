#!/usr/bin/env bash
# The stack on a real Docker Engine: the demo's day ends with nothing lost and nothing doubled, also with three workers,
# while workers are killed and the database is restarted; the image runs without rights on a read-only file system.
#
#   DC   how docker compose is called (default: docker compose); the images must be built
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
trap 'rm -f day-*.log' EXIT

dc up -d --wait demo-web demo-worker demo-platform demo-shop
day quiet

dc up -d --wait --scale demo-worker=3 demo-web demo-worker
(
  for _ in 1 2 3; do
    sleep 4
    dc kill -s KILL demo-worker >/dev/null 2>&1 || true
    dc up -d --scale demo-worker=3 demo-worker >/dev/null 2>&1
  done
  dc restart demo-db >/dev/null 2>&1
) &
day killed
wait

dc run --rm -T --no-deps --entrypoint sh demo-web -c 'touch /srv/x 2>/dev/null && exit 1; id -u | grep -qx 10001; relay --help >/dev/null'
echo '3 passed, 0 failed'
