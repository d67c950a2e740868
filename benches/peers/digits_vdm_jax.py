#!/usr/bin/env python3
"""The reference workload W1 in JAX (XLA): the faster of the two peers on a CPU.

The same work as digits_vdm_torch.py; README.md defines it. Prints one JSON line.

    pip install jax numpy
    python digits_vdm_jax.py --steps 800      (taskset -c 0 for one thread)
"""
import argparse, gzip, json, math, pathlib, resource, time

import jax
import jax.numpy as jnp
import numpy as np

LEVELS, DIM, GAMMA_0, GAMMA_1, HIDDEN, BLOCKS, DROPOUT = 17, 64, -8.0, 5.0, 256, 3, 0.4
X_LEVELS = 2 * (np.arange(LEVELS, dtype=np.float32) + 0.5) / LEVELS - 1
DATA = pathlib.Path(__file__).resolve().parents[2] / "src/data/digits.csv.gz"


def init(rng):
    def linear(i, o, scale=1.0):
        return [jnp.asarray(rng.normal(size=(i, o)) * scale / math.sqrt(i), jnp.float32), jnp.zeros(o, jnp.float32)]

    blocks = [[linear(HIDDEN, HIDDEN), linear(17, HIDDEN), linear(HIDDEN, HIDDEN, 0.0)] for _ in range(BLOCKS)]
    return {"input": linear(DIM * 5 + 17, HIDDEN), "blocks": blocks, "output": linear(HIDDEN, DIM * LEVELS, 0.0)}


def apply(layer, x):
    return x @ layer[0] + layer[1]


def rms_norm(h):
    return h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)


def denoise(params, z, gamma, key=None):
    u = (gamma - GAMMA_0) / (GAMMA_1 - GAMMA_0)
    f = u[:, None] * 2.0 ** jnp.arange(8) * (math.pi / 2)
    time_features = jnp.concatenate([2 * u[:, None] - 1, jnp.sin(f), jnp.cos(f)], 1)
    a, b = LEVELS * math.pi / 2, LEVELS * math.pi
    h = apply(params["input"], jnp.concatenate([z, jnp.sin(a * z), jnp.cos(a * z), jnp.sin(b * z), jnp.cos(b * z), time_features], 1))
    for inner, time_proj, outer in params["blocks"]:
        v = jax.nn.silu(apply(inner, rms_norm(jax.nn.silu(h))) + apply(time_proj, time_features))
        if key is not None:
            key, k = jax.random.split(key)
            v = v * jax.random.bernoulli(k, 1 - DROPOUT, v.shape) / (1 - DROPOUT)
        h = h + apply(outer, v)
    logits = apply(params["output"], rms_norm(jax.nn.silu(h))).reshape(-1, DIM, LEVELS)
    alpha, var = jnp.sqrt(jax.nn.sigmoid(-gamma))[:, None, None], jax.nn.sigmoid(gamma)[:, None, None]
    return jax.nn.softmax(logits - 0.5 * (z[..., None] - alpha * X_LEVELS) ** 2 / var, -1) @ X_LEVELS


def diffusion_loss(params, x, t, eps, key=None):
    gamma = GAMMA_0 + (GAMMA_1 - GAMMA_0) * t
    z = jnp.sqrt(jax.nn.sigmoid(-gamma))[:, None] * x + jnp.sqrt(jax.nn.sigmoid(gamma))[:, None] * eps
    return 0.5 * (GAMMA_1 - GAMMA_0) * jnp.exp(-gamma) * jnp.sum((x - denoise(params, z, gamma, key)) ** 2, 1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=800)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--images", type=int, default=256)
    p.add_argument("--sampling-steps", type=int, default=100)
    a = p.parse_args()
    rows = np.loadtxt(gzip.open(DATA), delimiter=",", dtype=np.int64)[:, :DIM]
    train, test, rng, total = rows[:1000], rows[1350:], np.random.default_rng(0), a.steps
    tree = jax.tree_util.tree_map

    @jax.jit
    def step(params, m, v, ema, i, k, key):
        k_t, k_eps, k_drop = jax.random.split(key, 3)
        t = jnp.mod(jax.random.uniform(k_t) + jnp.arange(a.batch) / a.batch, 1.0)

        def loss(q):
            return diffusion_loss(q, jnp.asarray(X_LEVELS)[k], t, jax.random.normal(k_eps, (a.batch, DIM)), k_drop).mean() / DIM / math.log(2)

        value, grads = jax.value_and_grad(loss)(params)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree_util.tree_leaves(grads)))
        grads = tree(lambda g: g * jnp.minimum(1.0, 1.0 / (norm + 1e-6)), grads)
        rate = 2e-3 * jnp.minimum(1.0, i / 200) * (0.5 * (1 + jnp.cos(math.pi * i / total)) * 0.97 + 0.03)
        m = tree(lambda s, g: 0.9 * s + 0.1 * g, m, grads)
        v = tree(lambda s, g: 0.99 * s + 0.01 * g * g, v, grads)
        params = tree(lambda q, s, r: q - rate * (s / (1 - 0.9 ** i) / (jnp.sqrt(r / (1 - 0.99 ** i)) + 1e-8) + 0.01 * q), params, m, v)
        decay = jnp.minimum(0.999, (1.0 + i) / (10.0 + i))
        return params, m, v, tree(lambda s, q: decay * s + (1 - decay) * q, ema, params), value

    @jax.jit
    def sample(params, key):
        gammas = jnp.linspace(GAMMA_1, GAMMA_0, a.sampling_steps + 1)

        def body(i, carry):
            z, key = carry
            key, k = jax.random.split(key)
            g_t, g_s = gammas[i], gammas[i + 1]
            x_hat, c = denoise(params, z, jnp.full(a.images, g_t)), -jnp.expm1(g_s - g_t)
            mean = jnp.sqrt(jax.nn.sigmoid(-g_s)) * (z * (1 - c) / jnp.sqrt(jax.nn.sigmoid(-g_t)) + c * x_hat)
            return mean + jnp.sqrt(jax.nn.sigmoid(g_s) * c) * jax.random.normal(k, z.shape), key

        return jax.lax.fori_loop(0, a.sampling_steps, body, (jax.random.normal(key, (a.images, DIM)), key))[0]

    params = init(rng)
    m, v, ema, key = tree(jnp.zeros_like, params), tree(jnp.zeros_like, params), params, jax.random.PRNGKey(0)
    warm, start = min(20, a.steps // 4), None
    for i in range(1, a.steps + 1):
        if i == warm + 1:
            value.block_until_ready(); start = time.perf_counter()
        key, k = jax.random.split(key)
        params, m, v, ema, value = step(params, m, v, ema, jnp.float32(i), jnp.asarray(train[rng.integers(0, len(train), a.batch)]), k)
    value.block_until_ready()
    train_rate = (a.steps - warm) / (time.perf_counter() - start)

    evaluate, r, x, total_nats, repeats = jax.jit(diffusion_loss), np.random.default_rng(1), X_LEVELS[test], 0.0, 48
    for j in range(repeats):
        t = ((r.random() + np.arange(len(test)) * 0.6180339887) % 1.0 + j) / repeats
        total_nats += float(evaluate(ema, x, jnp.asarray(t, jnp.float32), jnp.asarray(r.normal(size=x.shape), jnp.float32)).mean())
    var1 = 1 / (1 + math.exp(-GAMMA_1))
    prior = 0.5 * ((1 - var1) * x ** 2 + var1 - math.log(var1) - 1).sum(1).mean()
    z = x + math.exp(0.5 * GAMMA_0) * r.normal(size=x.shape)
    logp = jax.nn.log_softmax(-0.5 * math.exp(-GAMMA_0) * (z[..., None] - X_LEVELS) ** 2, -1)
    recon = -np.take_along_axis(np.asarray(logp), test[..., None], -1).sum((1, 2)).mean()
    bpd = (total_nats / repeats + prior + recon) / DIM / math.log(2)

    sample(ema, jax.random.PRNGKey(1)).block_until_ready()
    start = time.perf_counter()
    sample(ema, jax.random.PRNGKey(2)).block_until_ready()
    rate = a.images / (time.perf_counter() - start)
    print(json.dumps({"peer": "jax " + jax.__version__, "device": jax.devices()[0].platform, "train_steps_per_second": round(train_rate, 2),
                      "sample_images_per_second": round(rate, 1), "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                      "test_bits_per_dim": round(float(bpd), 4),
                      "parameters": int(sum(q.size for q in jax.tree_util.tree_leaves(params)))}))


if __name__ == "__main__":
    main()
