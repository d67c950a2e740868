"""Recomputes the bound of a saved model without any code of this repository.

    cargo run --example ch05_vdm -- --save vdm.safetensors
    python3 tests/independent_bound.py vdm.safetensors target/chapters/ch05_vdm/metrics.json

Needs Python 3.9 and NumPy. Reads weights of chapter 3 (an autoencoder), chapter 4 (a hierarchy of latents), chapter 5 (a
chain of 200 latents) or chapter 6 (continuous time, with the schedule in the file), computes the bound of the test digits
with random numbers of its own, and exits with 1 if it lies more than three standard errors of the difference from the one
in metrics.json. The page "Weights and formats" explains it.
"""

import gzip
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np

GAMMA_MIN, GAMMA_MAX = -8.0, 5.0
LATENTS = 200  # chapter 5
STRATA = 64  # chapter 6
PASSES = 2
DRAWS = 64  # chapters 3 and 4
K = 17
LEVELS = 2 * (np.arange(K) + 0.5) / K - 1


# ANCHOR: read
def read_safetensors(path):
    """Eight bytes of length, a JSON header, then the numbers."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    program = header.pop("__metadata__")["program"]
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = (
            np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"]).astype(np.float64)
        )
    return program, tensors


# ANCHOR_END: read


def test_digits():
    file = Path(__file__).parent.parent / "src" / "data" / "digits.csv.gz"
    rows = [[int(cell) for cell in line.split(",")] for line in gzip.open(file, "rt")]
    return np.array(rows)[1350:, :64]


def mean_and_error(passes):
    """Mean over passes and images, and its standard error over the noise."""
    passes = np.stack(passes)
    return (
        passes.mean(),
        math.sqrt((passes.var(0, ddof=1) / len(passes)).sum()) / passes.shape[1],
    )


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * a))


def silu(a):
    return a * sigmoid(a)


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rms_norm(h):
    return h / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-5)


def linear(w, name, h):
    return h @ w[name + ".weight"] + w[name + ".bias"]


# ANCHOR: autoencoder
def network(w, name, u):
    """The output, [B, outputs], of a residual network for u, [B, inputs]."""
    h = linear(w, name + ".input", u)
    for i in range(
        sum(
            tensor.startswith(name + ".blocks.") and tensor.endswith(".inner.weight")
            for tensor in w
        )
    ):
        inner = silu(linear(w, f"{name}.blocks.{i}.inner", rms_norm(silu(h))))
        h = h + linear(w, f"{name}.blocks.{i}.outer", inner)
    return linear(w, name + ".output", rms_norm(silu(h)))


def gaussian(w, name, u):
    """Mean and log variance, [B, k] each."""
    mean, log_var = np.split(network(w, name + ".network", u), 2, 1)
    return mean + linear(w, name + ".mean", u), log_var


def log_density(z, mean, log_var):
    return -0.5 * (
        (z - mean) ** 2 * np.exp(-log_var) + log_var + math.log(2 * math.pi)
    ).sum(1)


def autoencoder(levels, w, noise):
    """The bound of chapters 3 and 4: -log p(x|z_1), and for each level of latents
    log q(z_t|z_{t-1}) - log p(z_t|z_{t+1})."""
    depth = sum(name.startswith("encoders.") and name.endswith(".mean.bias") for name in w)
    encoders = [f"encoders.{t}" for t in range(depth)] or ["encoder"]

    def one_pass():
        total, z, q = 0.0, LEVELS[levels], None
        for t, encoder in enumerate(encoders):
            below, (mean, log_var) = z, gaussian(w, encoder, z)
            z = mean + np.exp(0.5 * log_var) * noise.standard_normal(mean.shape)
            if t == 0:
                mix = network(w, "decoder.network", z).reshape(*levels.shape, 2)
                p = softmax(mix @ w["decoder.curves"] + w["decoder.bias"])
                total -= np.log(np.take_along_axis(p, levels[:, :, None], 2)).sum((1, 2))
            else:
                total += log_density(below, *q) - log_density(
                    below, *gaussian(w, f"priors.{t - 1}", z)
                )
            q = mean, log_var
        mean, log_var = q
        return total + 0.5 * (mean**2 + np.exp(log_var) - log_var - 1).sum(1)

    return mean_and_error([one_pass() for _ in range(DRAWS)])


# ANCHOR_END: autoencoder


# ANCHOR: denoise
def denoise(w, z, gamma):
    """x_hat, [B, d], from z, [B, d], and gamma, [B]."""
    # The posterior of each pixel on its own.
    g = gamma[:, None, None]
    distance = z[:, :, None] - np.sqrt(sigmoid(-g)) * LEVELS
    alone = w["log_marginals"] - distance**2 / (2 * sigmoid(g))
    p = softmax(alone)
    mean = p @ LEVELS
    deviation = 2 * np.sqrt((p * (LEVELS - mean[:, :, None]) ** 2).sum(-1))
    # Seventeen features of the noise level.
    u = ((gamma - GAMMA_MIN) / (GAMMA_MAX - GAMMA_MIN))[:, None]
    phase = u * (math.pi / 2 * 2.0 ** np.arange(8))
    time = np.concatenate([2 * u - 1, np.sin(phase), np.cos(phase)], 1)
    if "trunk.position" in w:
        h = convolutions(w, mean, deviation, time)
    else:
        # The residual network.
        h = linear(w, "trunk.input", np.concatenate([mean, deviation, time], 1))
        for i in range(
            sum(
                name.startswith("trunk.blocks.") and name.endswith(".inner.weight")
                for name in w
            )
        ):
            block = f"trunk.blocks.{i}."
            inner = silu(
                linear(w, block + "inner", rms_norm(silu(h)))
                + linear(w, block + "time", time)
            )
            h = h + linear(w, block + "outer", inner)
        h = rms_norm(silu(h))
    mix = linear(w, "output", h)
    f = mix.reshape(*z.shape, 2) @ w["curves"] + w["bias"]
    return softmax(alone + f) @ LEVELS


# ANCHOR_END: denoise


# ANCHOR: convolutions
def convolutions(w, mean, deviation, time):
    """The hidden units of each pixel, [B, 64, c], of `--preset full`. Here the channels are
    the last index."""

    def convolution(name, h):
        weight = w[name + ".weight"]  # outputs x inputs x k x k
        k = weight.shape[2]
        edge = k // 2
        padded = np.pad(h, [(0, 0), (edge, edge), (edge, edge), (0, 0)])
        y = w[name + ".bias"]
        for row in range(k):
            for column in range(k):
                y = (
                    y
                    + padded[:, row : row + 8, column : column + 8]
                    @ weight[:, :, row, column].T
                )
        return y

    image = np.stack([mean, deviation], 2).reshape(-1, 8, 8, 2)
    h = convolution("trunk.input", image) + w["trunk.position"][0].transpose(1, 2, 0)
    for i in range(
        sum(name.endswith(".inner.bias") and "global" not in name for name in w)
    ):
        block = f"trunk.down.0.blocks.{i}."
        # All pixels at once. The numbers are ordered channel after channel.
        seen = (
            convolution(block + "global.gather", h)
            .transpose(0, 3, 1, 2)
            .reshape(len(h), -1)
        )
        told = linear(
            w,
            block + "global.outer",
            silu(linear(w, block + "global.inner", rms_norm(seen))),
        )
        told = silu(rms_norm(told)).reshape(len(h), 4, 8, 8).transpose(0, 2, 3, 1)
        inner = (
            convolution(block + "inner", rms_norm(silu(h)))
            + linear(w, block + "time", time)[:, None, None]
        )
        inner = inner + convolution(block + "global.spread", told)
        h = h + convolution(block + "outer", silu(inner))
    return rms_norm(silu(h)).reshape(len(h), 64, -1)


# ANCHOR_END: convolutions


# ANCHOR: bound
def bound(levels, denoising_terms, noise):
    """Mean over images of reconstruction + prior + denoising, and its standard error over
    the noise, in nats."""
    x = LEVELS[levels]

    def diffuse(gamma):
        g = np.reshape(gamma, (-1, 1))
        return np.sqrt(sigmoid(-g)) * x + np.sqrt(sigmoid(g)) * noise.standard_normal(
            x.shape
        )

    def one_pass():
        z = diffuse(GAMMA_MIN)
        distance = z[:, :, None] - math.sqrt(sigmoid(-GAMMA_MIN)) * LEVELS
        decoder = softmax(-(distance**2) / (2 * sigmoid(GAMMA_MIN)))
        total = -np.log(np.take_along_axis(decoder, levels[:, :, None], 2)).sum((1, 2))
        signal, rest = sigmoid(-GAMMA_MAX), sigmoid(GAMMA_MAX)
        total += 0.5 * (signal * x**2 + rest - 1 - math.log(rest)).sum(1)
        return total + denoising_terms(x, diffuse)

    return mean_and_error([one_pass() for _ in range(PASSES)])


# ANCHOR_END: bound


def discrete(w):
    """Chapter 5: every step t = 2..T of the chain, weight (SNR(t-1) - SNR(t)) / 2."""
    gammas = np.linspace(GAMMA_MIN, GAMMA_MAX, LATENTS)

    def terms(x, diffuse):
        total = np.zeros(len(x))
        for before, gamma in zip(gammas, gammas[1:]):
            x_hat = denoise(w, diffuse(gamma), np.full(len(x), gamma))
            total += (
                0.5 * (math.exp(-before) - math.exp(-gamma)) * ((x - x_hat) ** 2).sum(1)
            )
        return total

    return terms


def continuous(w, noise):
    """Chapter 6: one time from each of 64 parts of [0, 1], weight gamma'(t) SNR(t) / 2, with
    the schedule in the file."""
    line, rates, heights, offsets = (
        w["schedule." + name] for name in ["slope", "rates", "heights", "offsets"]
    )

    def raw(t):
        step = sigmoid(np.abs(rates) * t[:, None] + offsets)
        slope = np.abs(line) + (np.abs(heights) * np.abs(rates) * step * (1 - step)).sum(1)
        return np.abs(line) * t + (np.abs(heights) * step).sum(1), slope

    (start, end), _ = raw(np.array([0.0, 1.0]))
    network = {name.removeprefix("denoiser."): tensor for name, tensor in w.items()}

    def terms(x, diffuse):
        total = np.zeros(len(x))
        for i in range(STRATA):
            value, slope = raw((i + noise.random(len(x))) / STRATA)
            gamma = GAMMA_MIN + (GAMMA_MAX - GAMMA_MIN) * (value - start) / (end - start)
            slope = slope * (GAMMA_MAX - GAMMA_MIN) / (end - start)
            x_hat = denoise(network, diffuse(gamma), gamma)
            total += 0.5 * slope * np.exp(-gamma) * ((x - x_hat) ** 2).sum(1) / STRATA
        return total

    return terms


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: independent_bound.py WEIGHTS.safetensors METRICS.json")
    program, weights = read_safetensors(sys.argv[1])
    metrics = json.loads(Path(sys.argv[2]).read_text())
    if metrics["chapter"] != program:
        sys.exit(
            f"the weights are of {program}, the metrics of {metrics['chapter']}; give those of one run"
        )
    noise = np.random.default_rng()
    images = test_digits()
    kinds = {
        "ch03_vae": lambda: autoencoder(images, weights, noise),
        "ch04_hvae": lambda: autoencoder(images, weights, noise),
        "ch05_vdm": lambda: bound(images, discrete(weights), noise),
        "ch06_learned_snr": lambda: bound(images, continuous(weights, noise), noise),
    }
    if program not in kinds:
        sys.exit(
            f"{sys.argv[1]} holds weights of {program}; this program reads those of {', '.join(kinds)}"
        )
    nats, error = kinds[program]()
    unit = 64 * math.log(2)
    here, here_error = nats / unit, error / unit
    there = metrics["metrics"]["test_bits_per_dim"]
    there_error = metrics["metrics"]["test_bits_per_dim_stderr"]
    apart = abs(here - there) / math.hypot(here_error, there_error)
    print(f"{program}: {there:.4f} +- {there_error:.4f} bits/dim")
    print(
        f"here: {here:.4f} +- {here_error:.4f} bits/dim, {apart:.1f} standard errors apart"
    )
    sys.exit(int(apart > 3))


if __name__ == "__main__":
    main()
