#!/usr/bin/env bash
# The benchmark files and texts as parts that travel beside the tree, below gpu_data/:  bash gpu/pack.sh [DATA_FOLDER]
# Every call on the device machine takes 64 MiB in all, so one part a call (gpu/QUEUE.md, "Data").
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${REREAD_DATA:-../shared/data}}
[ -d "$data" ] || { echo "gpu/pack.sh: no such folder: $data (give it, or set REREAD_DATA)" >&2; exit 2; }
rm -rf gpu_data
mkdir -p gpu_data/all
tar -C "$data" -cf - . | split -b 34M -d - gpu_data/all/part_
count=$(find gpu_data/all -type f | wc -l)
for part in gpu_data/all/part_*; do
  number=${part##*_}
  mkdir -p "gpu_data/$number"
  mv "$part" "gpu_data/$number/part_${number}_of_$count"
done
rmdir gpu_data/all
du -sh gpu_data/*
