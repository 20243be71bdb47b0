#!/usr/bin/env bash
# Builds the GPU image and benchmarks in it; `make docker-bench` calls this.
#   DATA=folder domain/class/image   WEIGHTS=file.safetensors or random   OUT=folder for the records
#   IMAGE=tag   GPU=number   MINUTES=limit
#   LOCK_CLOCKS=1 (as root inside; see docker/benchmark.sh), at CLOCK_MHZ=number
set -euo pipefail

fail() {
    echo "error: $*" >&2
    exit 2
}

image=${IMAGE:-dgprune-gpu}
weights=${WEIGHTS:-random}
out=${OUT:-runs/gpu}
user="$(id -u):$(id -g)"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

command -v docker >/dev/null ||
    fail "docker is not installed; without it: make gpu-check EXTRAS=gpu,dev"
[[ -n ${DATA:-} ]] || fail "name the images: make docker-bench DATA=folder (domain/class/image)"
[[ -d $DATA ]] || fail "DATA=$DATA is not a folder; name one of the shape domain/class/image"
[[ $weights == random || -f $weights ]] ||
    fail "WEIGHTS=$weights is not a file; name one, or random"
[[ ${user%%:*} != 0 ]] || fail "run this as the user who is to own OUT, not as root"
mkdir -p "$out"

run=(
    run --rm --gpus all --shm-size 2g # for the plain loop, whose workers hand batches over in it
    --entrypoint /opt/dgprune/docker/benchmark.sh
    --env "GPU=${GPU:-0}" --env "MINUTES=${MINUTES:-25}" --env "LOCK_CLOCKS=${LOCK_CLOCKS:-0}"
    --env "CLOCK_MHZ=${CLOCK_MHZ:-}"
    --volume "$(realpath "$DATA"):/data:ro" --volume "$(realpath "$out"):/out"
)
if [[ $weights != random ]]; then
    run+=(--volume "$(realpath "$weights"):/weights.safetensors:ro")
    run+=(--env WEIGHTS=/weights.safetensors)
fi
if [[ ${LOCK_CLOCKS:-0} == 1 ]]; then
    run+=(--user 0:0 --cap-add SYS_ADMIN --env "RUN_AS=$user") # clocks are root's; the work is not
else
    run+=(--user "$user")
fi

docker build --tag "$image" \
    --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 \
    --build-arg EXTRAS=gpu,tensorrt,dev \
    --build-arg PIP_ARGS="${PIP_ARGS:-}" \
    --build-arg "PACKAGES=gcc libc6-dev python3-dev" \
    "$here/.."
exec docker "${run[@]}" "$image"
