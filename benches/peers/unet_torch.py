#!/usr/bin/env python3
"""The work of benches/unet.rs in PyTorch: training steps of the full preset's U-Net on 28 x 28 images with 256 levels.

    python unet_torch.py --steps 100 [--device cuda] [--compile] [--tf32]

Prints one JSON line. The images are noise: only the time is measured.
"""
import argparse, json, math, time

import torch
import torch.nn as nn
import torch.nn.functional as F

DIM, SIDE, LEVELS, GAMMA_MIN, GAMMA_MAX = 784, 28, 256, -13.3, 5.0


def rms_norm(h):
    return h * torch.rsqrt(h.square().mean(1, keepdim=True) + 1e-5)


class Global(nn.Module):
    def __init__(self, c, side):
        super().__init__()
        n = 4 * side * side
        self.gather, self.spread = nn.Conv2d(c, 4, 1), nn.Conv2d(4, c, 1)
        self.inner, self.outer = nn.Linear(n, 64), nn.Linear(64, n)
        nn.init.zeros_(self.spread.weight)

    def forward(self, h):
        seen = self.gather(h)
        hidden = F.silu(self.inner(rms_norm(seen.flatten(1))))
        return self.spread(F.silu(rms_norm(self.outer(hidden))).view_as(seen))


class Block(nn.Module):
    def __init__(self, c, side):
        super().__init__()
        self.inner, self.outer = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
        self.time = nn.Linear(17, c)
        self.globally = Global(c, side) if side else None

    def forward(self, h, time):
        u = self.inner(rms_norm(F.silu(h))) + self.time(time)[:, :, None, None]
        if self.globally is not None:
            u = u + self.globally(h)
        return h + self.outer(F.silu(u))


class Denoiser(nn.Module):
    def __init__(self, c, resolutions=3, blocks=2):
        super().__init__()
        low = resolutions - 1
        stage = lambda l: nn.ModuleList(Block(c << l, SIDE >> l if l == low else 0) for _ in range(blocks))
        self.input, self.position = nn.Conv2d(2, c, 1), nn.Parameter(torch.randn(1, c, SIDE, SIDE) * 0.3)
        self.down = nn.ModuleList(stage(l) for l in range(resolutions))
        self.up = nn.ModuleList(stage(l) for l in reversed(range(low)))
        self.narrow = nn.ModuleList(nn.Conv2d(c << l, c << (l + 1), 1) for l in range(low))
        self.widen = nn.ModuleList(nn.Conv2d(c << (l + 1), c << l, 1) for l in reversed(range(low)))
        self.output = nn.Linear(c, 2)
        nn.init.zeros_(self.output.weight)
        levels = 2 * (torch.arange(LEVELS) + 0.5) / LEVELS - 1
        self.register_buffer("levels", levels)
        self.register_buffer("log_marginals", torch.full((DIM, LEVELS), -math.log(LEVELS)))
        self.curves = nn.Parameter(torch.stack([levels, 2.0 * (torch.arange(LEVELS) == 0)]))
        self.bias = nn.Parameter(torch.zeros(DIM, LEVELS))

    def forward(self, z, gamma):
        signal, noise = torch.sigmoid(-gamma).sqrt()[:, None, None], torch.sigmoid(gamma)[:, None, None]
        alone = self.log_marginals - (z[..., None] - signal * self.levels) ** 2 / (2 * noise)
        p = alone.softmax(-1)
        mean = p @ self.levels
        deviation = 2 * (p * (self.levels - mean[..., None]) ** 2).sum(-1).sqrt()
        u = ((gamma - GAMMA_MIN) / (GAMMA_MAX - GAMMA_MIN))[:, None]
        phase = u * (math.pi / 2 * 2.0 ** torch.arange(8, device=z.device))
        time = torch.cat([2 * u - 1, phase.sin(), phase.cos()], 1)
        h = self.input(torch.stack([mean, deviation], 1).view(-1, 2, SIDE, SIDE)) + self.position
        skips = []
        for i, stage in enumerate(self.down):
            if i:
                skips.append(h)
                h = self.narrow[i - 1](F.avg_pool2d(h, 2))
            for block in stage:
                h = block(h, time)
        for widen, stage in zip(self.widen, self.up):
            h = F.interpolate(widen(h), scale_factor=2, mode="nearest") + skips.pop()
            for block in stage:
                h = block(h, time)
        mix = self.output(rms_norm(F.silu(h)).permute(0, 2, 3, 1)).view(-1, DIM, 2)
        return (alone + mix @ self.curves + self.bias).softmax(-1) @ self.levels


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--channels", type=int, default=32)
    p.add_argument("--images", type=int, default=64)
    p.add_argument("--sampling-steps", type=int, default=50)
    p.add_argument("--device", default="cuda")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--tf32", action="store_true")
    a = p.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high" if a.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = a.tf32
    net, ema = Denoiser(a.channels).to(a.device), Denoiser(a.channels).to(a.device)
    ema.load_state_dict(net.state_dict())
    forward = torch.compile(net) if a.compile else net
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    sync = torch.cuda.synchronize if a.device.startswith("cuda") else (lambda: None)
    warm = max(a.steps // 4, 1)
    for i in range(1, a.steps + 1):
        x = torch.randn(a.batch, DIM, device=a.device).tanh()
        t = (torch.rand(1, device=a.device) + torch.arange(a.batch, device=a.device) / a.batch) % 1.0
        gamma = GAMMA_MIN + (GAMMA_MAX - GAMMA_MIN) * t
        z = torch.sigmoid(-gamma).sqrt()[:, None] * x + torch.sigmoid(gamma).sqrt()[:, None] * torch.randn_like(x)
        loss = ((x - forward(z, gamma)).square().sum(1) * torch.exp(-gamma)).mean() / DIM
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - min(0.999, (1 + i) / (10 + i)))
        if i == warm:
            sync()
            start = time.perf_counter()
    sync()
    rate = (a.steps - warm) / (time.perf_counter() - start)

    @torch.no_grad()
    def sample(steps):
        z = torch.randn(a.images, DIM, device=a.device)
        gammas = torch.linspace(GAMMA_MAX, GAMMA_MIN, steps + 1, device=a.device)
        for g_t, g_s in zip(gammas[:-1], gammas[1:]):
            x_hat = ema(z, g_t.expand(a.images))
            a_t, a_s, c = torch.sigmoid(-g_t).sqrt(), torch.sigmoid(-g_s).sqrt(), -torch.expm1(g_s - g_t)
            z = a_s * (z * (1 - c) / a_t + c * x_hat) + (torch.sigmoid(g_s) * c).sqrt() * torch.randn_like(z)
        sync()

    sample(3)
    start = time.perf_counter()
    sample(a.sampling_steps)
    sampled = a.images / (time.perf_counter() - start)
    print(json.dumps({"peer": "torch " + torch.__version__, "device": a.device, "compile": a.compile, "tf32": a.tf32,
                      "batch": a.batch, "channels": a.channels, "train_steps_per_second": rate,
                      "train_images_per_second": rate * a.batch, "sample_images_per_second": sampled,
                      "sampling_steps": a.sampling_steps, "parameters": sum(q.numel() for q in net.parameters())}))


if __name__ == "__main__":
    main()
