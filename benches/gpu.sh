#!/usr/bin/env bash
# Everything that the book records about a GPU, and about the cores of its machine, in one go and within a given time.
#
#   benches/gpu.sh build KIT                 on a machine with a Rust toolchain: the programs, stripped, and MNIST
#   benches/gpu.sh measure KIT OUT [MINUTES] on the machine with the card, which needs no toolchain and no network
#
# DEVICES="cuda wgpu" names the devices; ARGUMENTS is handed to the U-Net (`--channels 4 --batch 4 --images 2` for a
# rehearsal on software Vulkan), THREADS and ROUNDS to many_cores.sh. Each step writes OUT/NAME.txt, its time and its exit
# code included, and the next step begins even where it failed; OUT/summary.txt has one line for each.
set -euo pipefail

DEVICES="${DEVICES:-cuda wgpu}"
CHAPTERS="ch03_vae ch04_hvae ch05_vdm ch06_learned_snr ch07_three_parameterizations"

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# executable NAME: the path of a test or a bench, from what Cargo says that it has built. It ends in a hash.
executable() {
    grep -o "\"executable\":\"[^\"]*/$1-[0-9a-f]*\"" | tail -n 1 | cut -d'"' -f4
}

build() {
    cd "$(dirname "$0")/.."
    local kit="$1" features="wgpu,cuda" target="${CARGO_TARGET_DIR:-target}"
    mkdir -p "$kit/mnist"
    cargo build --profile gpu --features "$features" --examples
    local built
    built="$(cargo test --profile gpu --features "$features" --test parity --no-run --message-format=json \
        && cargo bench --profile gpu --features "$features" --bench unet --no-run --message-format=json)"
    local name
    for name in parity unet; do
        strip -o "$kit/$name" "$(executable "$name" <<<"$built")"
    done
    for name in $CHAPTERS; do
        strip -o "$kit/$name" "$target/gpu/examples/$name"
    done
    # What is timed on the CPU is compiled as `cargo run` compiles it.
    for name in peers unet; do
        built="$(cargo bench --profile dev --bench "$name" --no-run --message-format=json)"
        strip -o "$kit/$name-cpu" "$(executable "$name" <<<"$built")"
    done
    mkdir -p "$kit/benches" "$kit/src/data"
    cp -r benches/many_cores.sh benches/peers "$kit/benches/"
    # Which the Python programs read.
    cp src/data/digits.csv.gz "$kit/src/data/"
    # The files lie where a first `--data mnist` has put them.
    cp "${XDG_CACHE_HOME:-$HOME/.cache}"/elbo-to-diffusion/mnist/*ubyte* "$kit/mnist/" \
        || echo "MNIST is not in the cache: run a chapter with --data mnist once, or copy its files to $kit/mnist." >&2
    du -sh "$kit"
}

# step NAME LIMIT COMMAND...: runs the command for at most LIMIT seconds, and no longer than there is time.
step() {
    local name="$1" limit="$2" code=0 start=$SECONDS
    shift 2
    local left=$((END - SECONDS))
    if [ "$left" -lt 10 ]; then
        echo "$name: no time left" | tee -a "$OUT/summary.txt"
        return
    fi
    timeout --signal=INT --kill-after=20 "$((limit < left ? limit : left))" "$@" >"$OUT/$name.txt" 2>&1 || code=$?
    echo "$name: exit code $code after $((SECONDS - start)) s: $*" | tee -a "$OUT/summary.txt" "$OUT/$name.txt"
}

measure() {
    local kit="$1" device chapter round
    OUT="$2" END=$((SECONDS + 60 * ${3:-12}))
    mkdir -p "$OUT"
    : >"$OUT/summary.txt"
    # Caches of compiled kernels and of autotune stay for the second and third run of each program.
    export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$OUT/cache}"
    { date; lscpu | grep -E "Model name|^CPU\(s\)"; nvidia-smi || true; } >"$OUT/machine.txt" 2>&1
    for device in $DEVICES; do
        # The first run compiles kernels; the others alternate with PyTorch.
        step "unet-$device-first" 150 "$kit/unet" --device "$device" --steps 20 ${ARGUMENTS:-}
    done
    for round in 1 2 3; do
        for device in $DEVICES; do
            step "unet-$device-$round" 90 "$kit/unet" --device "$device" ${ARGUMENTS:-}
        done
        step "unet-torch-$round" 60 python3 "$kit/benches/peers/unet_torch.py" --steps 100
        step "unet-torch-fast-$round" 90 python3 "$kit/benches/peers/unet_torch.py" --steps 100 --compile --tf32
    done
    # Where a step's time goes: launches, gaps and copies, if NVIDIA's profiler is there.
    if command -v nsys >/dev/null; then
        for device in $DEVICES; do
            step "profile-$device" 120 nsys profile --stats=true --output "$OUT/$device" \
                "$kit/unet" --device "$device" --steps 20 ${ARGUMENTS:-}
        done
    fi
    step parity 180 "$kit/parity" --nocapture --test-threads=1
    for device in $DEVICES; do
        for chapter in $CHAPTERS; do
            step "$chapter-$device" 60 "$kit/$chapter" --device "$device" --out "$OUT/$chapter-$device"
        done
    done
    # The cores beside the card: two minutes for each number of threads.
    local threads="${THREADS:-4 16}"
    step many-cores "$((120 * $(wc -w <<<"$threads")))" env THREADS="$threads" ROUNDS="${ROUNDS:-2}" UNET_STEPS=10 \
        W1="$(realpath "$kit")/peers-cpu" UNET="$(realpath "$kit")/unet-cpu" \
        bash "$kit/benches/many_cores.sh" "$(realpath "$OUT")/many_cores.txt"
    # The rest of the time goes to chapter 6 on MNIST; `--resume` takes it up where another call leaves it.
    device="${DEVICES%% *}"
    local mnist="$OUT/mnist-ch06" resume=()
    if [ -d "$mnist/checkpoints" ]; then
        resume=(--resume "$mnist")
    fi
    step mnist-ch06 36000 "$kit/ch06_learned_snr" --device "$device" --data mnist --data-dir "$kit/mnist" \
        --preset full --out "$mnist" "${resume[@]}" --save "$OUT/ch06_mnist.safetensors"
    cat "$OUT/summary.txt"
}

case "${1:-}" in
    build) [ $# -eq 2 ] || usage; build "$2" ;;
    measure) [ $# -ge 3 ] && [ $# -le 4 ] || usage; measure "${@:2}" ;;
    *) usage ;;
esac
