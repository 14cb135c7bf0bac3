#!/usr/bin/env bash
# Everything to measure on an accelerator, in one command: benchmarks/gpu.sh [ROOT]
#
# ROOT is the Wikipedia data set (docs of each benchmark); without it, words, texts and graph are synthetic. First
# whether the numbers are right, and only if they are, the times. Each part prints its table and writes
# benchmarks/results/NAME-gpu.json with the device in it; those of CPUs stay. A part that fails is named at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/environment
. launch/environment

extra=$(accelerator_extra)
if [ -z "$extra" ]; then
    echo "error: this machine shows no accelerator; each part also runs alone on a CPU: python -m benchmarks.step" >&2
    exit 2
fi
make_environment "$extra,test"

root=()
if [ $# -gt 0 ]; then root=(--root "$1"); fi
# JAX and PyTorch share the memory: neither may take it all in advance.
export XLA_PYTHON_CLIENT_PREALLOCATE=false

failed=()
part() {
    echo
    echo "== python -m benchmarks.$*"
    "$python" -W ignore -m "benchmarks.$1" "${@:2}" || failed+=("$1")
}

part correctness
if [ ${#failed[@]} -gt 0 ]; then
    echo "error: this device computes wrong numbers (above); nothing was timed" >&2
    exit 1
fi
part floor
part layer "${root[@]}" --calls 20
part step "${root[@]}" --steps 20
part step "${root[@]}" --steps 20 --matmul tf32
part whole_run --epochs 80
part seeds --seeds 8 --steps 20
part evaluate
part codes
part pair_scores
if [ $# -gt 0 ]; then part encoders --root "$1" --steps 20; fi
part scale
part compile "${root[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    echo "these parts failed: ${failed[*]}" >&2
    exit 1
fi
