"""Small models with random weights, and signals to try them on."""

import dataclasses

import numpy as np
import torch

from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig, save_model

TINY = {"channels": [8, 8, 16]}
TINY_DEMUCS = {"hidden": 4, "depth": 4, "taps": 16, "groups": 2}
TINY_ROUTED = TINY_DEMUCS | {
    "utilizations": [0.25, 0.5, 1.0],
    "router_channels": 8,
    "router_kernel": 32,
    "router_stride": 16,
}

TINY_DUAL_PATH = {
    "channels": 16,
    "chunk_size": 40,
    "intra_layers": 1,
    "nhead": 2,
    "intra_ffn": 32,
    "inter_ffn": 16,
}


def noise(samples, channels=1, seed=0):
    """Noise that comes and goes, ``[T, C]``, float32."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0.0, 0.2, samples // 800 + 1), 800)[:samples]
    return (level[:, None] * rng.standard_normal((samples, channels))).astype(
        np.float32
    )


def tiny_model(static=False, **changes):
    """A network that decides now this way, now that way."""
    torch.manual_seed(1)
    if static:
        config = ModelConfig("tiny-static", "ftfnet", TINY, **changes)
        return LoadedModel(config.build(), config)
    config = ModelConfig("tiny", "dynamic_ftfnet", TINY, **changes)
    enhancer = config.build()
    with torch.no_grad():
        _, decision = enhancer(torch.from_numpy(noise(160_000).T))
    calibration = Calibration.from_logits(decision.logits.flatten().numpy())
    config = dataclasses.replace(
        config, calibration=calibration, default_budget=0.5
    )
    return LoadedModel(enhancer, config)


def tiny_router(**lobe):
    """A network whose frames run at any of three widths, 64 samples each."""
    torch.manual_seed(2)
    config = ModelConfig(
        "tiny-router", "slim_demucs", TINY_ROUTED | lobe, front_end="waveform"
    )
    enhancer = config.build()
    net, router = enhancer.lobe, enhancer.lobe.policy
    net.decoders[-1].second.data.mul_(10)  # else near silence
    with torch.no_grad():
        wav = torch.from_numpy(noise(16_000).T)
        logits = enhancer(wav)[1].logits
        spread = logits.std(1).mean()
        router.head.weight.mul_(1 / spread)
        router.head.bias.sub_(logits.mean((0, 1)) / spread)
        logits = enhancer(wav)[1].logits
    calibration = Calibration.from_logits(logits[0].numpy(), levels=net.levels)
    config = dataclasses.replace(
        config, calibration=calibration, default_budget=0.5
    )
    return LoadedModel(enhancer, config)


def tiny_separator(static=False, **lobe):
    """A separator at 8 kHz with random weights."""
    torch.manual_seed(3)
    name = "dual_path" if static else "slim_dual_path"
    config = ModelConfig(
        "tiny-separator",
        name,
        TINY_DUAL_PATH | lobe,
        front_end="mixture",
        sample_rate=8000,
        kind="separation",
    )
    separator = config.build()
    if static:
        return LoadedModel(separator, config)
    for block in separator.lobe.blocks:  # that decides now this, now that
        block.policy.dense.weight.data.mul_(20)
    with torch.no_grad():
        wav = torch.from_numpy(noise(24_000).T)
        logits = separator(wav)[1].logits
    levels = separator.cost.levels
    logits = logits.reshape(-1, len(levels)).numpy()
    calibration = Calibration.from_logits(logits, levels=levels)
    config = dataclasses.replace(config, calibration=calibration)
    return LoadedModel(separator, config)


def save_tiny(folder, static=False, model=None):
    """The same as a model folder."""
    model = model or tiny_model(static)
    return save_model(folder, model.enhancer, model.config, "# tiny\n")
