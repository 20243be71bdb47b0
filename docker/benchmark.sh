#!/usr/bin/env bash
# Everything that needs a GPU, measured inside the container; docker/run.sh starts it.
#   /data   images, domain/class/image       /out   takes records.jsonl, store/ and clocks-*.csv
#   WEIGHTS file or random   GPU number   MINUTES limit
#   LOCK_CLOCKS=1 holds the GPU at CLOCK_MHZ (its default clock where not given) for the time of the
#   run; it needs root, and RUN_AS=uid:gid for the work. Without it no setting is changed.
set -euo pipefail

data=${DATA:-/data}
out=${OUT:-/out}
gpu=${GPU:-0}
least_driver=580 # the first that runs CUDA 13
changed_persistence=""
locked=""
work=""

fail() {
    echo "error: $*" >&2
    exit 2
}

ask() {
    nvidia-smi --id="$gpu" --query-gpu="$1" --format="csv,noheader${2:-}"
}

# The command as the user who owns the records, never as root.
as_user() {
    if [[ $(id -u) == 0 ]]; then
        setpriv --reuid="${RUN_AS%%:*}" --regid="${RUN_AS##*:}" --clear-groups -- "$@"
    else
        "$@"
    fi
}

require_driver() {
    command -v nvidia-smi >/dev/null ||
        fail "no NVIDIA driver in here; install the container toolkit and pass --gpus all"
    local version
    version=$(ask driver_version) ||
        fail "nvidia-smi does not answer for GPU $gpu: ${version%%$'\n'*}"
    [[ ${version%%.*} =~ ^[0-9]+$ ]] || fail "nvidia-smi tells no driver version but: $version"
    ((${version%%.*} >= least_driver)) ||
        fail "driver $version is too old for CUDA 13; install $least_driver or later on the host"
}

require_user() {
    if [[ $(id -u) == 0 ]]; then
        [[ ${RUN_AS:-0} =~ ^[1-9][0-9]*:[0-9]+$ ]] ||
            fail "records are not written as root; pass --user uid:gid, or RUN_AS=uid:gid"
    elif [[ ${LOCK_CLOCKS:-0} == 1 ]]; then
        fail "LOCK_CLOCKS=1 needs root and RUN_AS=uid:gid; docker/run.sh gives both"
    fi
    as_user test -d "$data" || fail "no images at $data; mount a folder domain/class/image there"
    as_user test -w "$out" || fail "$out cannot be written; mount a folder of yours there"
}

# What the GPU was allowed to do, beside the records: $out/clocks-$1.csv.
note_clocks() {
    local wanted=name,driver_version,persistence_mode,power.limit,power.default_limit
    wanted+=,clocks.applications.graphics,clocks.applications.memory
    wanted+=,clocks.max.graphics,clocks.max.memory,clocks.current.graphics
    nvidia-smi --id="$gpu" --query-gpu="$wanted" --format=csv |
        as_user tee "$out/clocks-$1.csv" >/dev/null
}

restore_clocks() {
    if [[ -n $work ]]; then kill "$work" 2>/dev/null || true; fi
    if [[ -n $locked ]]; then nvidia-smi --id="$gpu" --reset-gpu-clocks >&2 || true; fi
    if [[ -n $changed_persistence ]]; then
        nvidia-smi --id="$gpu" --persistence-mode=0 >&2 || true
    fi
    note_clocks end || true
}

lock_clocks() {
    local mhz=${CLOCK_MHZ:-}
    [[ -n $mhz ]] || mhz=$(ask clocks.default_applications.graphics ,nounits)
    [[ $mhz =~ ^[0-9]+$ ]] || fail "this GPU tells no default clock ($mhz); pass CLOCK_MHZ=number"
    if [[ $(ask persistence_mode) == Disabled ]]; then # or the lock falls when no process is there
        changed_persistence=yes
        nvidia-smi --id="$gpu" --persistence-mode=1 >&2
    fi
    locked=yes
    nvidia-smi --id="$gpu" --lock-gpu-clocks="$mhz,$mhz" >&2 || fail "the clocks cannot be locked"
}

no_telemetry() {
    export ORT_DISABLE_TELEMETRY=1 HOME=/tmp/benchmark USER=runner
    export MPLCONFIGDIR=$HOME PYTEST_ADDOPTS="-p no:cacheprovider"
    as_user mkdir -p "$HOME"
    if command -v opt_in_out >/dev/null; then as_user opt_in_out --opt_out; fi # OpenVINO's
}

require_driver
require_user
no_telemetry
note_clocks start || fail "nvidia-smi does not tell the clocks of GPU $gpu"
trap restore_clocks EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ ${LOCK_CLOCKS:-0} == 1 ]]; then
    lock_clocks
    note_clocks locked || fail "nvidia-smi does not tell the clocks of GPU $gpu"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=$gpu # the numbers of nvidia-smi
check=(tests.benchmarks.gpu_check "$data" "${WEIGHTS:-random}" "$out" "${MINUTES:-25}")
as_user python -m "${check[@]}" & # bash obeys a signal at once only while it waits
work=$!
wait "$work"
work=""
