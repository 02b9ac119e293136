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
# What docs/getting-started.md describes, in a folder with docker-compose.yml alone, which belongs to a user without rights.
new_user() (
  local owner folder project
  owner=$(id -u):$(id -g)
  [ "$(id -u)" != 0 ] || owner=1234:1234
  as_owner() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 1234 --regid 1234 --clear-groups "$@"; else "$@"; fi; }
  folder=$(mktemp -d)
  cp docker-compose.yml "$folder/"
  [ "$(id -u)" != 0 ] || chown 1234:1234 "$folder"
  cd "$folder"
  unset COMPOSE_PROFILES COMPOSE_FILE
  export RELAY_PORT=8098
  # The simulators stand for the Platform and the store, in the network of the relay.
  printf 'services:\n  demo-platform:\n    networks: [ inside ]\n  demo-store:\n    networks: [ inside ]\n' >docker-compose.override.yml
  project=(docker compose -p relay-new-user)
  trap '"${project[@]}" --profile demo down -v -t 5 --remove-orphans >/dev/null 2>&1; rm -rf "$folder"' EXIT
  "${project[@]}" --profile demo up -d --wait --no-build demo-platform demo-store

  export PLATFORM__API_KEY=sim-platform-key WOOCOMMERCE__CONSUMER_KEY=ck_simulator_key WOOCOMMERCE__CONSUMER_SECRET=cs_simulator_key
  answers=(--yes --from-env --store woocommerce --shop-key sim-shop --set WOOCOMMERCE__URL=http://demo-store:8080
    --set PLATFORM__URL=http://demo-platform:8080 --set PLATFORM__LAUNCHER_URL=http://demo-platform:8080
    --set 'PRIVATE_NETWORKS=["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]')
  secrets=(-e RELAY_PORT -e PLATFORM__API_KEY -e WOOCOMMERCE__CONSUMER_KEY -e WOOCOMMERCE__CONSUMER_SECRET)
  run=("${project[@]}" run --rm -T "${secrets[@]}")
  # Without the folder, nothing can be written: an error that shows the right command, before any question.
  if "${run[@]}" web relay init "${answers[@]}" >unmounted.log 2>&1; then echo 'relay init wrote a file into the image'; exit 1; fi
  grep -q 'mount the folder of docker-compose.yml' unmounted.log || { cat unmounted.log; exit 1; }
  "${run[@]}" --user "$owner" -v "$PWD:/setup" web relay init --file /setup/.env "${answers[@]}" >init.log 2>&1 || { cat init.log; exit 1; }

  [ "$(stat -c '%a %u:%g' .env)" = "600 $owner" ] || { stat .env; exit 1; }
  as_owner grep -q '^STORE_KEY=' .env
  for name in DATABASE_URL HOST PORT HEARTBEAT_FILE; do ! grep "^$name=" .env || { echo "$name is in .env"; exit 1; }; done
  unset PLATFORM__API_KEY WOOCOMMERCE__CONSUMER_KEY WOOCOMMERCE__CONSUMER_SECRET
  grep -qx ' *docker compose up -d --wait' init.log
  "${project[@]}" up -d --wait --no-build web worker # reads .env
  "${project[@]}" exec -T web relay check >check.log 2>&1 || { cat check.log; exit 1; }
  sed -n '/^ *curl -sS/,/^ *-d/p' init.log >first-event.sh # as it was printed
  bash first-event.sh | grep -q '"status": *"accepted"' || { cat init.log; bash first-event.sh; exit 1; }
  for _ in $(seq 60); do
    "${project[@]}" exec -T web relay events --json --limit 1 >events.log 2>&1 || true
    ! grep -q '"state": *"delivered"' events.log || { echo 'new user: .env written, read, first event delivered'; exit 0; }
    sleep 1
  done
  cat events.log
  exit 1
)
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
new_user
echo '4 passed, 0 failed'
