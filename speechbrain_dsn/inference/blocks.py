"""Signals of any length through an enhancer, block by block.

Only what is open is computed, and memory does not grow with the length: the
state between blocks is the enhancer's streaming context. What comes out, put
together, is what the enhancer makes of the whole signal.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount, MacMeter
from speechbrain_dsn.dataio.resample import Resampler

__all__ = ["BLOCK_SECONDS", "AlignedStream", "SignalStream"]

# Long enough that a product's overhead does not count, short enough for
# some tens of MB of activations.
BLOCK_SECONDS = 5.0


class AlignedStream:
    """Blocks of any length in, as many samples out, in time with the input.

    An enhancer's stream takes whole hops and answers with a delay. Here the
    rest of a block waits for the next one, the delay is taken out, and the
    tail comes with `flush`.

    Arguments
    ---------
    enhancer : torch.nn.Module
        In eval mode.
    batch_size : int
        Signals that advance together.
    decide : dict
        Passed to the enhancer: what `LoadedModel.decide` gives.
    device : torch.device, optional
        Where the enhancer is.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> enhancer = ModelConfig("tiny", "dynamic_ftfnet").build()
    >>> stream = AlignedStream(enhancer, 1, {"bias": 0.0})
    >>> wav = 0.1 * torch.randn(1, 1000)
    >>> parts = [stream.push(part) for part in wav.split(300, 1)]
    >>> whole, _ = enhancer(wav)
    >>> parts = torch.cat([*parts, stream.flush()], 1)
    >>> bool(torch.allclose(parts, whole, atol=1e-5))
    True
    """

    def __init__(
        self,
        enhancer: nn.Module,
        batch_size: int,
        decide: dict[str, Any],
        device: torch.device | str | None = None,
    ) -> None:
        self.enhancer, self.decide = enhancer, decide
        self._context = enhancer.make_streaming_context(batch_size, device)
        self.sample_rate = enhancer.sample_rate
        self._rest = torch.zeros(batch_size, 0, device=device)
        self._delay = enhancer.delay  # samples still to be left out
        self._taken = self._given = 0
        # Bytes [T, B, K] in one piece: a small tensor for each block would
        # stay between large ones that go, and so keep their memory.
        self._gates, self._choices = bytearray(), 1

    @torch.inference_mode()
    def push(self, wav: Tensor) -> Tensor:
        """Takes the next samples, gives what is ready.

        Arguments
        ---------
        wav : Tensor
            ``[B, n]`` on any device, n may be 0.

        Returns
        -------
        Tensor
            ``[B, m]``.
        """
        self._taken += wav.size(1)
        wav = torch.cat([self._rest, wav.to(self._rest)], 1)
        whole = wav.size(1) - wav.size(1) % self.enhancer.hop
        self._rest = wav[:, whole:]
        if not whole:
            return wav[:, :0]
        out, decision = self.enhancer.forward_streaming(
            wav[:, :whole], self._context, **self.decide
        )
        if decision is None:  # a static net runs everything, always
            gates = wav.new_ones(len(wav), whole // self.enhancer.hop, 1)
        else:
            gates = decision.values
        is_open = (gates > 0.5).transpose(0, 1).contiguous().cpu()
        self._choices = gates.size(2)
        self._gates += memoryview(is_open.numpy()).cast("B")
        start = min(self._delay, whole)
        self._delay -= start
        self._given += whole - start
        return out[:, start:]

    def flush(self) -> Tensor:
        """Gives the rest, so that all is as long as the input was.

        Returns
        -------
        Tensor
            ``[B, m]``.
        """
        missing = self._taken - self._given
        silence = self.enhancer.delay + self.enhancer.hop - 1
        last = self.push(F.pad(self._rest[:, :0], (0, silence)))
        return last[:, :missing]

    def decision(self, lengths: Tensor | None = None) -> Decision:
        """What was decided so far; a static net counts as always open.

        Arguments
        ---------
        lengths : Tensor, optional
            Valid frames per item ``[B]``.

        Returns
        -------
        Decision
            On the CPU.
        """
        gates = np.frombuffer(self._gates, bool)
        gates = gates.reshape(-1, len(self._rest), self._choices)
        values = torch.from_numpy(gates.swapaxes(0, 1).astype(np.float32))
        return Decision(values, self.enhancer.report().frame_rate, lengths)

    @property
    def cost(self) -> MacCount:
        """Of one frame."""
        return self.enhancer.report().cost

    def meter(self) -> MacMeter:
        """MACs as executed so far."""
        meter = MacMeter(self.cost)
        meter.update(self.decision())
        return meter


class SignalStream:
    """Samples of any rate in, samples of that rate out, equally many.

    Each channel goes through the model on its own. A model at 16 kHz hears
    nothing above 8 kHz: of a signal at 44.1 or 48 kHz that band is removed.

    Arguments
    ---------
    stream : AlignedStream
        One signal per channel, at the start.
    sample_rate : int
        Of the signal, in Hz.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> enhancer = ModelConfig("tiny", "dynamic_ftfnet").build()
    >>> stream = AlignedStream(enhancer, 2, {"bias": 0.0})
    >>> signal = SignalStream(stream, 44100)
    >>> parts = [signal.push(np.zeros((1000, 2), np.float32))]
    >>> sum(len(part) for part in [*parts, signal.flush()])
    1000
    """

    def __init__(self, stream: AlignedStream, sample_rate: int) -> None:
        self._stream = stream
        self._before = Resampler(sample_rate, stream.sample_rate)
        self._after = Resampler(stream.sample_rate, sample_rate)
        self._missing = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes the next samples, gives what is ready.

        Arguments
        ---------
        block : np.ndarray
            ``[n, C]``, float32.

        Returns
        -------
        np.ndarray
            ``[m, C]``, float32.
        """
        self._missing += len(block)
        wav = self._stream.push(_to_batch(self._before.process(block)))
        return self._cut(self._after.process(_to_signal(wav)))

    def flush(self) -> np.ndarray:
        """Gives the rest.

        Returns
        -------
        np.ndarray
            ``[m, C]``, float32.
        """
        wav = self._stream.push(_to_batch(self._before.flush()))
        wav = torch.cat([wav, self._stream.flush()], 1)
        last = self._after.process(_to_signal(wav))
        return self._cut(np.concatenate((last, self._after.flush())))

    def _cut(self, block: np.ndarray) -> np.ndarray:
        """Resampling there and back may end a sample or two late."""
        block = block[: self._missing]
        self._missing -= len(block)
        return block

    def meter(self) -> MacMeter:
        """MACs as executed so far, over all channels."""
        return self._stream.meter()

    def decision(self) -> Decision:
        """Gates so far, one item per channel."""
        return self._stream.decision()


def _to_batch(block: np.ndarray) -> Tensor:
    """``[n, C]`` to ``[C, n]``."""
    return torch.from_numpy(np.ascontiguousarray(block.T))


def _to_signal(wav: Tensor) -> np.ndarray:
    """``[C, n]`` to ``[n, C]``."""
    return wav.cpu().numpy().T
