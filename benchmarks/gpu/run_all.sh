#!/usr/bin/env bash
# Builds the module for the GPU here, checks it, measures it against what else there is, and prints a table last.
#   benchmarks/gpu/run_all.sh [--quick] [--dry-run] [--limit SECONDS] [--out FOLDER]
# PYTHON: an interpreter with torch and the packages README.md beside this names; WHEELS: a folder with wheels of
# packages it lacks. Needs no network. --dry-run goes through all of it without a GPU, at tiny sizes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
command -v nvcc >/dev/null || export PATH="$PATH:/usr/local/cuda/bin"
if [ -n "${WHEELS:-}" ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
"$python" "$here/run_all.py" "$@"
