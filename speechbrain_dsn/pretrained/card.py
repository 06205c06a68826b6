"""``README.md`` of a model folder.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import nn

from speechbrain_dsn.pretrained.config import ModelConfig
from speechbrain_dsn.pretrained.table import LOBES

__all__ = ["make_card"]

USES = {
    "enhancement": "enhance noisy.wav -o clean.wav",
    "separation": "separate mixture.wav -o speaker.wav",
    "quality": "quality speech.wav",
}


def make_card(config: ModelConfig, enhancer: nn.Module, text: str = "") -> str:
    """What a user should know of a model, in Markdown.

    Arguments
    ---------
    config : ModelConfig
        Of the model.
    enhancer : torch.nn.Module
        The network, for its size and cost.
    text : str
        Data, results and limits, in Markdown.

    Returns
    -------
    str
        The card.

    Example
    -------
    >>> config = ModelConfig("tiny", "ftfnet", info={"steps": 100})
    >>> card = make_card(config, config.build(), "Trained on nothing.")
    >>> print(card.rstrip())
    # tiny
    <BLANKLINE>
    | | |
    | --- | --- |
    | task | enhancement at 16000 Hz, causal, latency 32 ms |
    | network | ftfnet, 135,425 parameters |
    | cost | 300 M MAC/s |
    | licence | Apache-2.0 |
    | steps | 100 |
    <BLANKLINE>
    Trained on nothing.
    <BLANKLINE>
    Use: `speechbrain-dsn enhance noisy.wav -o clean.wav --model tiny`
    """
    report = enhancer.report()
    scale = report.frame_rate / 1e6
    low, high = report.cost.closed * scale, report.cost.open * scale
    parameters = sum(p.numel() for p in enhancer.parameters())
    spread = (
        f"{low:.0f} M MAC/s closed, {(low + high) / 2:.0f} half open, "
        f"{high:.0f} open"
        if config.dynamic and not report.cost.one_hot
        else f"{low:.0f} to {high:.0f} M MAC/s, by "
        f"{len(report.cost.gated)} {LOBES[config.lobe].choices}"
        if report.cost.one_hot
        else f"{high:.0f} M MAC/s"
    )
    rows = {
        "task": f"{config.kind} at {config.sample_rate} Hz, "
        + _timing(config, enhancer),
        "network": f"{config.lobe}, {parameters:,} parameters",
        "cost": spread,
        "licence": config.license,
        **config.info,
    }
    if config.default_budget is not None:
        rows["default budget"] = config.default_budget
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    use = f"Use: `speechbrain-dsn {USES[config.kind]} --model {config.name}`"
    parts = (f"# {config.name}", f"| | |\n| --- | --- |\n{table}", text, use)
    return "\n\n".join(part for part in parts if part) + "\n"


def _timing(config: ModelConfig, enhancer: nn.Module) -> str:
    """How much of a signal it has to hear."""
    if config.kind == "separation":
        return f"{enhancer.num_spks} speakers, offline"
    if config.kind == "quality":
        return f"{', '.join(enhancer.lobe.targets)}, offline"
    latency = (enhancer.delay + enhancer.hop) / config.sample_rate
    return f"causal, latency {1000 * latency:.0f} ms"
