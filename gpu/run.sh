#!/usr/bin/env bash
# One job of gpu/QUEUE.md, unattended:  bash gpu/run.sh JOB [--dry-run] [--minutes 8.5]
# Call it again with the same job to go on; what is there so far comes back under $OUT.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
python=python3
if [ -x .venv/bin/python ]; then python=.venv/bin/python; fi
site=${REREAD_GPU_WORK:-/tmp/reread_gpu}/site  # packages that the machine lacks, carried as wheels (gpu/QUEUE.md)
if [[ " $* " != *" --dry-run "* ]]; then
  if compgen -G '.whl/*.whl' > /dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .whl/*.whl
  fi
  export PYTHONPATH="$PYTHONPATH:$site"
fi
exec "$python" gpu/jobs.py "$@"
