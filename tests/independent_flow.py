"""Recomputes the bound of the flow from saved weights without any code of the book's library.

    cargo run --example ch08_flow
    python3 tests/independent_flow.py chapters/weights/ch06_learned_snr.safetensors target/chapters/ch08_flow/metrics.json

Needs Python 3.9 and NumPy. Reads the weights of chapter 6, follows the flow from the test digits to noise in 64-bit floats,
with random numbers of its own, with steps at equal distances in gamma (the chapter's lie at equal distances in t), and with
derivatives carried forward (the chapter carries them back). Exits with 1 if its bound lies more than three standard errors
of the difference from the one in metrics.json. The denoiser's formulas are those of independent_bound.py.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

from independent_bound import (
    GAMMA_MAX,
    GAMMA_MIN,
    LEVELS,
    linear,
    mean_and_error,
    read_safetensors,
    sigmoid,
    softmax,
    test_digits,
)

STEPS = 64
PASSES = 2


# Each function below takes values with their derivatives along one direction, and returns
# the same.
def silu_along(a, da):
    s = sigmoid(a)
    return a * s, da * s * (1 + a * (1 - s))


def rms_norm_along(h, dh):
    r = 1 / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-5)
    return h * r, dh * r - h * r**3 * (h * dh).mean(-1, keepdims=True)


def linear_along(w, name, h, dh):
    return linear(w, name, h), dh @ w[name + ".weight"]


def softmax_along(a, da):
    p = softmax(a)
    return p, p * (da - (p * da).sum(-1, keepdims=True))


# ANCHOR: denoise_along
def denoise_along(w, z, gamma, v):
    """x_hat and its derivative along v, both [B, d], from z and v, [B, d], at one gamma."""
    signal, noise = math.sqrt(sigmoid(-gamma)), sigmoid(gamma)
    distance = z[:, :, None] - signal * LEVELS
    alone = w["log_marginals"] - distance**2 / (2 * noise)
    d_alone = -distance / noise * v[:, :, None]
    p, dp = softmax_along(alone, d_alone)
    mean, d_mean = p @ LEVELS, dp @ LEVELS
    squares = (LEVELS - mean[:, :, None]) ** 2
    root = np.sqrt(np.maximum((p * squares).sum(-1), 1e-20))
    deviation, d_deviation = 2 * root, (dp * squares).sum(-1) / root
    u = np.full((len(z), 1), (gamma - GAMMA_MIN) / (GAMMA_MAX - GAMMA_MIN))
    phase = u * (math.pi / 2 * 2.0 ** np.arange(8))
    time = np.concatenate([2 * u - 1, np.sin(phase), np.cos(phase)], 1)
    h, dh = linear_along(
        w,
        "trunk.input",
        np.concatenate([mean, deviation, time], 1),
        np.concatenate([d_mean, d_deviation, np.zeros_like(time)], 1),
    )
    for i in range(sum(name.endswith(".inner.weight") for name in w)):
        block = f"trunk.blocks.{i}."
        a, da = linear_along(w, block + "inner", *rms_norm_along(*silu_along(h, dh)))
        a, da = silu_along(a + linear(w, block + "time", time), da)
        a, da = linear_along(w, block + "outer", a, da)
        h, dh = h + a, dh + da
    mix, d_mix = linear_along(w, "output", *rms_norm_along(*silu_along(h, dh)))
    f = mix.reshape(*z.shape, 2) @ w["curves"] + w["bias"]
    df = d_mix.reshape(*z.shape, 2) @ w["curves"]
    p, dp = softmax_along(alone + f, d_alone + df)
    return p @ LEVELS, dp @ LEVELS


# ANCHOR_END: denoise_along


# ANCHOR: flow_bound
def flow_bound(levels, w, random):
    """-log P(x|z_0) + log q(z_0|x) - log p(z_0) of each image, [B], in nats, from one z_0."""
    x, d = LEVELS[levels], levels.shape[1]
    signal, noise = math.sqrt(sigmoid(-GAMMA_MIN)), sigmoid(GAMMA_MIN)
    eps = random.standard_normal(x.shape)
    z = signal * x + math.sqrt(noise) * eps
    decoder = softmax(-((z[:, :, None] - signal * LEVELS) ** 2) / (2 * noise))
    total = -np.log(np.take_along_axis(decoder, levels[:, :, None], 2)).sum((1, 2))
    total -= 0.5 * (eps**2 + math.log(2 * math.pi * noise)).sum(1)

    def slopes(z, gamma):
        """dz/dgamma, and an estimate of its divergence from random signs."""
        v = random.choice([-1.0, 1.0], z.shape)
        x_hat, along = denoise_along(w, z, gamma, v)
        abar = sigmoid(-gamma)
        root = math.sqrt(abar)
        return (abar * z - root * x_hat) / 2, (abar * d - root * (v * along).sum(1)) / 2

    volume, step = np.zeros(len(z)), (GAMMA_MAX - GAMMA_MIN) / STEPS
    for i in range(STEPS):
        gamma = GAMMA_MIN + i * step
        k1, l1 = slopes(z, gamma)
        k2, l2 = slopes(z + step / 2 * k1, gamma + step / 2)
        k3, l3 = slopes(z + step / 2 * k2, gamma + step / 2)
        k4, l4 = slopes(z + step * k3, gamma + step)
        z = z + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        volume += step / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    return total + 0.5 * (z**2 + math.log(2 * math.pi)).sum(1) - volume


# ANCHOR_END: flow_bound


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: independent_flow.py WEIGHTS.safetensors METRICS.json")
    program, weights = read_safetensors(sys.argv[1])
    metrics = json.loads(Path(sys.argv[2]).read_text())
    if program != "ch06_learned_snr" or metrics["chapter"] != "ch08_flow":
        sys.exit(
            f"found weights of {program} and metrics of {metrics['chapter']}; "
            "give weights of ch06_learned_snr and metrics of ch08_flow"
        )
    w = {name.removeprefix("denoiser."): tensor for name, tensor in weights.items()}
    random, images = np.random.default_rng(), test_digits()
    nats, error = mean_and_error([flow_bound(images, w, random) for _ in range(PASSES)])
    unit = 64 * math.log(2)
    here, here_error = nats / unit, error / unit
    there = metrics["metrics"]["flow_test_bits_per_dim"]
    there_error = metrics["metrics"]["flow_test_bits_per_dim_stderr"]
    apart = abs(here - there) / math.hypot(here_error, there_error)
    print(f"ch08_flow: {there:.4f} +- {there_error:.4f} bits/dim")
    print(
        f"here: {here:.4f} +- {here_error:.4f} bits/dim, {apart:.1f} standard errors apart"
    )
    sys.exit(int(apart > 3))


if __name__ == "__main__":
    main()
