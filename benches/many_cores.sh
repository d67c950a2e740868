#!/usr/bin/env bash
# The reference workload W1 and the U-Net at several numbers of threads, here, in PyTorch and (W1) in JAX, in turn: what
# the book records about many cores.
#
#   benches/many_cores.sh [RECORD]     (benches/recorded/many_cores.txt)
#
# THREADS="1 2 4 8 16" (as many as there are cores), ROUNDS=5, STEPS=400 and UNET_STEPS=40 (of training), PYTHON=python3,
# with torch, numpy and, if it is to be compared, jax. On a machine without a Rust toolchain, W1=PROGRAM and UNET=PROGRAM
# name the two benches, built elsewhere. All programs are held to as many cores as they have threads.
set -euo pipefail

cd "$(dirname "$0")/.."
record="${1:-benches/recorded/many_cores.txt}"
python="${PYTHON:-python3}"
rounds="${ROUNDS:-5}"
cores="$(nproc)"

# bench NAME: builds it, and prints its path.
bench() {
    cargo bench --profile dev --bench "$1" --no-run --message-format=json \
        | grep -o "\"executable\":\"[^\"]*/$1-[0-9a-f]*\"" | tail -n 1 | cut -d'"' -f4
}
w1="${W1:-$(bench peers)}"
unet="${UNET:-$(bench unet)}"

# unet_rounds THREADS: the U-Net here and in PyTorch in turn; medians, and the ratios of runs that follow each other.
unet_rounds() {
    local threads="$1" round hold
    hold=(taskset -c "0-$((threads - 1))" env "RAYON_NUM_THREADS=$threads" "OMP_NUM_THREADS=$threads")
    for ((round = 1; round <= rounds; round++)); do
        "${hold[@]}" "$unet" --device cpu --steps "${UNET_STEPS:-40}" | tail -n 1
        "${hold[@]}" "$python" benches/peers/unet_torch.py --device cpu --steps "${UNET_STEPS:-40}" | tail -n 1
    done | "$python" -c '
import json, statistics, sys
runs = [json.loads(line) for line in sys.stdin]
for figure, name in [("train_steps_per_second", "U-Net, training steps/s"), ("sample_images_per_second", "U-Net, sampled images/s")]:
    ours, theirs = ([run[figure] for run in runs[i::2]] for i in (0, 1))
    ratios = [a / b for a, b in zip(ours, theirs)]
    for who, values in [("here", ours), ("PyTorch", theirs), ("here over PyTorch", ratios)]:
        print(f"{name}, {who}: median {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
'
}

# table THREADS: the medians as a table; behind a ratio the least of a round.
table() {
    "$python" -c '
import re, sys
found = (re.match(r"(.*), (.*): median (\S+) \((\S+) to", line) for line in sys.stdin)
figures = {(line[1], line[2]): (float(line[3]), float(line[4])) for line in found if line}
peers = ["PyTorch", "JAX"]
ratios = [f"here over {peer}" for peer in peers]
print(f"threads: {sys.argv[1]}, medians".ljust(26), *(f"{name:>8}" for name in ["here", *peers]), *(f"{name:>18}" for name in ratios))
for name in ["training steps/s", "sampled images/s", "U-Net, training steps/s", "U-Net, sampled images/s"]:
    cells = [f"{figures[name, who][0]:8.2f}" if (name, who) in figures else " " * 8 for who in ["here", *peers]]
    for who in ratios:
        median, least = figures.get((name, who), (None, None))
        cells.append(f"{median:.2f} ({least:.2f})".rjust(18) if median else "")
    print((name if "," in name else "W1, " + name).ljust(26), *cells)
' "$1" | sed 's/ *$//'
}

{
    date -u +%F
    lscpu | grep -E '^(Model name|CPU family|Model|CPU\(s\)|L3)' || true
    "$python" -c '
import importlib.metadata as packages
for package in ["torch", "jax"]:
    try:
        print(package, packages.version(package))
    except packages.PackageNotFoundError:
        print(package, "is not installed")
'
    echo "rounds: $rounds; training steps of W1: ${STEPS:-400}, of the U-Net: ${UNET_STEPS:-40}"
    for threads in ${THREADS:-1 2 4 8 16}; do
        [ "$threads" -le "$cores" ] || continue
        echo
        echo "# ANCHOR: threads_$threads"
        {
            "$w1" --threads "$threads" --rounds "$rounds" --steps "${STEPS:-400}" --python "$python" --scripts benches/peers
            unet_rounds "$threads"
        } | table "$threads"
        echo "# ANCHOR_END: threads_$threads"
    done
} | tee "$record"
