#!/usr/bin/env python3
"""The reference workload W1 in PyTorch: what a reader would run instead.

A continuous-time variational diffusion model on the 8x8 digits, as README.md in
this folder defines it. Prints one JSON line: training steps/s, sampled images/s,
and the test bound in bits per dimension.

    pip install torch numpy
    python digits_vdm_torch.py --steps 800 --threads 2 [--compile] [--device cuda]
"""
import argparse, gzip, json, math, pathlib, resource, time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

LEVELS, DIM, GAMMA_0, GAMMA_1 = 17, 64, -8.0, 5.0
DATA = pathlib.Path(__file__).resolve().parents[2] / "src/data/digits.csv.gz"


def load_digits():
    rows = np.loadtxt(gzip.open(DATA), delimiter=",", dtype=np.int64)[:, :DIM]
    return rows[:1000], rows[1000:1350], rows[1350:]


class Block(nn.Module):
    def __init__(self, hidden, time, dropout):
        super().__init__()
        self.inner, self.time, self.outer = nn.Linear(hidden, hidden), nn.Linear(time, hidden), nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.outer.weight)

    def forward(self, h, time):
        u = rms_norm(F.silu(h))
        u = F.silu(self.inner(u) + self.time(time))
        return h + self.outer(self.dropout(u))


def rms_norm(h):
    return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-5)


class Denoiser(nn.Module):
    """Residual MLP whose softmax-posterior head returns E[x | z_t]."""

    def __init__(self, hidden=256, blocks=3, dropout=0.4):
        super().__init__()
        self.input = nn.Linear(DIM * 5 + 17, hidden)
        self.blocks = nn.ModuleList(Block(hidden, 17, dropout) for _ in range(blocks))
        self.output = nn.Linear(hidden, DIM * LEVELS)
        nn.init.zeros_(self.output.weight)
        self.register_buffer("levels", 2 * (torch.arange(LEVELS) + 0.5) / LEVELS - 1)

    def forward(self, z, gamma):                                  # z [B, 64], gamma [B]
        u = (gamma - GAMMA_0) / (GAMMA_1 - GAMMA_0)
        f = u[:, None] * (2.0 ** torch.arange(8, device=z.device)) * (math.pi / 2)
        time = torch.cat([2 * u[:, None] - 1, f.sin(), f.cos()], 1)        # [B, 17]
        a, b = LEVELS * math.pi / 2, LEVELS * math.pi
        h = self.input(torch.cat([z, (a * z).sin(), (a * z).cos(), (b * z).sin(), (b * z).cos(), time], 1))
        for block in self.blocks:
            h = block(h, time)
        logits = self.output(rms_norm(F.silu(h))).view(-1, DIM, LEVELS)
        alpha, var = torch.sigmoid(-gamma).sqrt()[:, None, None], torch.sigmoid(gamma)[:, None, None]
        logits = logits - 0.5 * (z[..., None] - alpha * self.levels) ** 2 / var
        return logits.softmax(-1) @ self.levels                   # [B, 64]


def diffusion_loss(net, x, t, eps):
    """Per-image continuous-time diffusion loss in nats, [B]."""
    gamma = GAMMA_0 + (GAMMA_1 - GAMMA_0) * t
    z = torch.sigmoid(-gamma).sqrt()[:, None] * x + torch.sigmoid(gamma).sqrt()[:, None] * eps
    return 0.5 * (GAMMA_1 - GAMMA_0) * torch.exp(-gamma) * (x - net(z, gamma)).square().sum(1)


@torch.no_grad()
def bits_per_dim(net, k, levels, repeats=48, seed=1):
    g = torch.Generator().manual_seed(seed)
    x, n, total = levels[k], len(k), 0.0
    for j in range(repeats):
        t = (torch.rand(1, generator=g) + torch.arange(n) * 0.6180339887) % 1.0
        eps = torch.randn(n, DIM, generator=g)
        total += diffusion_loss(net, x, ((t + j) / repeats).to(x.device), eps.to(x.device)).mean().item()
    var1 = 1 / (1 + math.exp(-GAMMA_1))
    prior = 0.5 * ((1 - var1) * x.square() + var1 - math.log(var1) - 1).sum(1).mean().item()
    z = x + math.exp(0.5 * GAMMA_0) * torch.randn(x.shape, generator=g).to(x.device)
    logp = (-0.5 * math.exp(-GAMMA_0) * (z[..., None] - levels) ** 2).log_softmax(-1)
    recon = -logp.gather(-1, k[..., None]).sum((1, 2)).mean().item()
    return (total / repeats + prior + recon) / DIM / math.log(2)


@torch.no_grad()
def sample(net, n, steps, device):
    """Ancestral sampling."""
    z = torch.randn(n, DIM, device=device)
    gammas = torch.linspace(GAMMA_1, GAMMA_0, steps + 1, device=device)
    for g_t, g_s in zip(gammas[:-1], gammas[1:]):
        x_hat = net(z, g_t.expand(n))
        a_t, a_s, c = torch.sigmoid(-g_t).sqrt(), torch.sigmoid(-g_s).sqrt(), -torch.expm1(g_s - g_t)
        z = a_s * (z * (1 - c) / a_t + c * x_hat) + (torch.sigmoid(g_s) * c).sqrt() * torch.randn_like(z)
    return z


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=800)
    p.add_argument("--hidden", type=int, default=256)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--device", default="cpu")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--images", type=int, default=256)
    p.add_argument("--sampling-steps", type=int, default=100)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    train, _, test = (torch.as_tensor(k, device=a.device) for k in load_digits())
    net = Denoiser(a.hidden).to(a.device)
    ema = Denoiser(a.hidden).to(a.device).eval()
    ema.load_state_dict(net.state_dict())
    fwd = torch.compile(net) if a.compile else net
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    sync = torch.cuda.synchronize if a.device.startswith("cuda") else (lambda: None)
    warm, start = min(20, a.steps // 4), None
    for i in range(1, a.steps + 1):
        if i == warm + 1:
            sync(); start = time.perf_counter()
        for group in opt.param_groups:
            group["lr"] = 2e-3 * min(1, i / 200) * (0.5 * (1 + math.cos(math.pi * i / a.steps)) * 0.97 + 0.03)
        k = train[torch.randint(len(train), (a.batch,), device=a.device)]
        t = (torch.rand(1, device=a.device) + torch.arange(a.batch, device=a.device) / a.batch) % 1.0
        loss = diffusion_loss(fwd, net.levels[k], t, torch.randn(a.batch, DIM, device=a.device)).mean() / DIM / math.log(2)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        decay = min(0.999, (1 + i) / (10 + i))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
    sync()
    train_rate = (a.steps - warm) / (time.perf_counter() - start)
    bpd = bits_per_dim(ema, test, net.levels)
    sample(ema, 16, 4, a.device); sync()
    start = time.perf_counter()
    sample(ema, a.images, a.sampling_steps, a.device); sync()
    rate = a.images / (time.perf_counter() - start)
    print(json.dumps({"peer": "torch " + torch.__version__, "device": a.device, "threads": a.threads, "compile": a.compile,
                      "train_steps_per_second": round(train_rate, 2), "sample_images_per_second": round(rate, 1),
                      "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                      "test_bits_per_dim": round(bpd, 4), "parameters": sum(q.numel() for q in net.parameters())}))


if __name__ == "__main__":
    main()
