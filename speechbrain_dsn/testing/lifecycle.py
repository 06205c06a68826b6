"""Made, reset, saved, copied, converted, and fed with extremes.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from speechbrain_dsn.testing.subject import Subject

_DRAWS = 40


def reset_all(layer: nn.Module) -> None:
    """Resets a module and all below it, parents first.

    So do SpeechBrain's recipes with what a YAML file has built: children have
    the last word.

    Arguments
    ---------
    layer : torch.nn.Module
        Any module.
    """
    for module in layer.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()


@torch.no_grad()
def check_reset_parameters(subject: Subject) -> None:
    """``reset_parameters()`` starts over as the constructor did.

    It forgets what was there, repeats itself under one seed, and holds what
    was meant - a bias that starts at 1, say - also where SpeechBrain resets
    every child after its parent.

    Arguments
    ---------
    subject : Subject
        A layer with ``reset_parameters``, its own or below it.
    """
    layer = subject.factory()
    built = _statistics(subject.factory)
    ways = {"the reset of every child": reset_all}
    if hasattr(layer, "reset_parameters"):
        ways["reset_parameters()"] = lambda layer: layer.reset_parameters()
    for what, reset in ways.items():

        def drawn(reset: Callable[[nn.Module], None] = reset) -> nn.Module:
            for parameter in layer.parameters():
                parameter.fill_(torch.nan)
            reset(layer)
            return layer

        once, again = (_seeded(drawn) for _ in range(2))
        for name, value in once.items():
            reached = not bool(value.isnan().any())
            subject.require(reached, f"{what} leaves {name} as it was")
            told = f"{what} draws {name} alike under one seed"
            subject.require_close(again[name], value, told, 0.0)
        for name, (mean, spread) in _statistics(drawn).items():
            old_mean, old_spread = built[name]
            near = abs(mean - old_mean) <= old_spread
            alike = old_spread / 2 <= spread <= 2 * old_spread
            subject.require(
                near and alike,
                f"{what} draws {name} with mean {mean:.3g}, deviation "
                f"{spread:.3g}; the constructor with {old_mean:.3g}, "
                f"{old_spread:.3g}",
            )


def _seeded(drawn: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Parameters drawn under a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = drawn()
    return {name: p.clone() for name, p in layer.named_parameters()}


def _statistics(
    drawn: Callable[[], nn.Module],
) -> dict[str, tuple[float, float]]:
    """Mean and deviation of each parameter over many draws."""
    draws: dict[str, list[Tensor]] = {}
    for _ in range(_DRAWS):
        for name, parameter in drawn().named_parameters():
            draws.setdefault(name, []).append(parameter.detach().clone())
    values = {name: torch.stack(draw) for name, draw in draws.items()}
    return {
        name: (float(v.mean()), float(v.std(correction=0)))
        for name, v in values.items()
    }


@torch.no_grad()
def check_state_dict(subject: Subject) -> None:
    """Weights that went through safetensors give the same bits.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(torch.float32), subject.input(dtype=torch.float32)
    state = safetensors.load(safetensors.save(layer.state_dict()))
    loaded = subject.factory().eval()
    loaded.load_state_dict(state)
    gate = subject.gate(x)
    subject.require_close(
        subject.masked(loaded, x, gate),
        subject.masked(layer, x, gate),
        "loaded = saved",
        0.0,
    )


@torch.no_grad()
def check_wrong_weights_are_named(subject: Subject) -> None:
    """Loading refuses a missing, unknown or misshaped tensor by its name.

    Arguments
    ---------
    subject : Subject
        A layer with something to learn.
    """
    layer = subject.layer()
    state = layer.state_dict()
    names = list(state)
    for name in {names[0], names[-1]}:
        value = state[name]
        rest = {each: state[each] for each in names if each != name}
        for what, named, wrong in (
            ("missing", name, rest),
            ("unknown", f"{name}_", state | {f"{name}_": value}),
            (
                "misshaped",
                name,
                rest | {name: value.expand(2, 3, *value.shape)},
            ),
        ):
            try:
                layer.load_state_dict(wrong)
            except Exception as error:  # of any kind, with the name in it
                told = named in str(error)
            else:
                told = False
            subject.require(told, f"loading names what is {what}: {named}")


def check_copies(subject: Subject) -> None:
    """``deepcopy`` and ``pickle`` work, after a training step too.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(), subject.input()
    gate = subject.gate(x)
    y = subject.masked(layer.train(), x, gate)
    if subject.trains:
        y.mean().backward()
    expected = subject.masked(layer.eval(), x, gate)
    for how, duplicate in (
        ("deepcopy", copy.deepcopy(layer)),
        ("pickle", pickle.loads(pickle.dumps(layer))),
    ):
        y = subject.masked(duplicate, x, gate)
        subject.require_close(y, expected, f"{how} = original", 0.0)


@torch.no_grad()
def check_bfloat16(subject: Subject) -> None:
    """In bfloat16 every path stays finite, and in bfloat16.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer = subject.layer(torch.bfloat16)
    x = subject.input(dtype=torch.float32).bfloat16()
    for name, run in subject.paths().items():
        y = run(layer, x, subject.gate(x))
        subject.require(y.dtype == x.dtype, f"{name}: bfloat16 gives {y.dtype}")
        finite = bool(y.isfinite().all())
        subject.require(finite, f"{name}: bfloat16 gives NaN or infinity")


def check_extremes(subject: Subject) -> None:
    """Silence, a constant, very quiet and very loud input stay finite.

    So do the gradients.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(torch.float32), subject.input(dtype=torch.float32)
    gate = subject.gate(x)
    for what, extreme in {
        "silence": torch.zeros_like(x),
        "a constant": torch.ones_like(x),
        "scale 1e-8": x * 1e-8,
        "scale 1e8": x * 1e8,
    }.items():
        for name, run in subject.paths().items():
            layer.zero_grad()
            y = run(layer, extreme, gate)
            if subject.trains:
                y.mean().backward()
            grads = [p.grad for p in layer.parameters() if p.grad is not None]
            finite = all(bool(t.isfinite().all()) for t in (y, *grads))
            subject.require(finite, f"{name}: {what} gives NaN or infinity")
