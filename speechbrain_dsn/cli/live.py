"""``speechbrain-dsn live``: enhance a stream, frame by frame.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechbrain_dsn.cli.budget import add_budget_argument
from speechbrain_dsn.cli.output import add_model_argument
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.optional import import_optional

if TYPE_CHECKING:
    from speechbrain_dsn.inference.streaming import StreamingEnhancement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``live``."""
    add_model_argument(parser)
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="hear this file, as fast as it goes, instead of the microphone",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="with --input: write what would be heard",
    )
    add_budget_argument(parser)
    parser.add_argument(
        "--hold",
        action="store_true",
        help="hold the budget over any 10 s, whatever the signal",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "onnx", "torch"),
        default="auto",
        help="what it runs on (default: onnxruntime if it is installed)",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often to report (default: %(default)g)",
    )
    for name in ("in-device", "out-device"):
        parser.add_argument(
            f"--{name}",
            metavar="NAME|NUMBER",
            help="sound device (default: the system's)",
        )


def run(args: argparse.Namespace) -> int:
    """Enhance until the file ends, or until Ctrl-C."""
    if args.out is not None and args.input is None:
        raise InputError("-o goes with --input: expected a file to hear")
    if not args.every > 0:
        raise InputError(f"--every {args.every:g}: expected seconds above 0")
    from speechbrain_dsn.inference.streaming import StreamingEnhancement

    if args.input is None:
        sound = _sounddevice()
    enhancement = StreamingEnhancement.from_pretrained(
        args.model, args.budget, args.hold, args.backend
    )
    print(
        f"{args.model} on {enhancement.session.backend}, "
        f"{enhancement.sample_rate} Hz, latency {enhancement.latency_ms:g} ms"
    )
    meter = Meter(enhancement, args.every)
    if args.input is not None:
        hear_file(enhancement, meter, args.input, args.out)
        return 0
    try:
        hear_microphone(enhancement, meter, sound, args)
    except KeyboardInterrupt:
        print()  # after the terminal's ^C
    meter.report()
    return 0


class Meter:
    """Time of enhancement against time of audio.

    Arguments
    ---------
    enhancement : StreamingEnhancement
        Whose streams are measured.
    every : float
        Seconds of audio between reports.
    """

    def __init__(self, enhancement: StreamingEnhancement, every: float) -> None:
        self._every, self._due = every, every
        self.streams = [enhancement.stream]
        self.audio = self.work = 0.0
        self.overruns = 0

    @contextmanager
    def timed(self, seconds: float) -> Iterator[None]:
        """Measures the work on so much audio."""
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        self.audio += seconds
        self.work += spent
        self.overruns += spent > seconds
        if self.audio >= self._due:
            self._due += self._every
            self.report()

    def report(self) -> None:
        """Prints a line about everything so far."""
        frames = max(1, sum(stream.frames for stream in self.streams))
        share = sum(stream.opened for stream in self.streams) / frames
        rate = self.streams[0].info.macs_per_second(share)
        print(
            f"{self.audio:7.1f} s  real-time factor "
            f"{self.work / max(self.audio, 1e-9):.3f}  activation {share:.2f}"
            f"  {rate / 1e6:.0f} M MAC/s  overruns {self.overruns}",
            flush=True,
        )


def hear_file(
    enhancement: StreamingEnhancement,
    meter: Meter,
    path: str,
    out: str | None = None,
) -> None:
    """Sends a file through streams, a hop at a time, one per channel.

    Arguments
    ---------
    enhancement : StreamingEnhancement
        At its start.
    meter : Meter
        Reports.
    path : str
        Any audio file.
    out : str, optional
        Where to write the result.
    """
    from speechbrain_dsn.dataio.audio import AtomicWriter, iter_blocks, probe

    info = probe(path)
    if out is not None and Path(out).resolve() == Path(path).resolve():
        raise InputError(f"{out} is the input: expected another name")
    hop = enhancement.frame_shift_in_samples / enhancement.sample_rate
    size = max(1, round(hop * info.sample_rate))
    meter.streams = [enhancement.make_stream() for _ in range(info.channels)]
    writer = nullcontext()
    if out is not None:
        writer = AtomicWriter(out, info.sample_rate, info.channels, like=info)
    with writer as file:
        for block in iter_blocks(path, size):
            with meter.timed(len(block) / info.sample_rate):
                channels = zip(meter.streams, block.T, strict=True)
                parts = [s.run(x, info.sample_rate) for s, x in channels]
            if file is not None:
                file.write(np.stack(parts, 1))
        meter.report()
        tail = [stream.flush() for stream in meter.streams]
        if file is not None:
            file.write(np.stack(tail, 1))


def hear_microphone(
    enhancement: StreamingEnhancement,
    meter: Meter,
    sound: Any,
    args: argparse.Namespace,
) -> None:
    """From microphone to speaker, for ever.

    Arguments
    ---------
    enhancement : StreamingEnhancement
        At its start.
    meter : Meter
        Reports; what the sound card lost counts as an overrun.
    sound : module
        sounddevice.
    args : argparse.Namespace
        With the devices.
    """
    hop, rate = enhancement.frame_shift_in_samples, enhancement.sample_rate
    devices = tuple(map(_device, (args.in_device, args.out_device)))
    try:
        with sound.Stream(
            samplerate=rate,
            blocksize=hop,
            device=devices,
            channels=1,
            dtype="float32",
            latency="low",
        ) as card:
            print("listening, Ctrl-C ends")
            while True:
                samples, lost = card.read(hop)
                with meter.timed(hop / rate):
                    out = enhancement.run(samples[:, 0], rate)
                # Silence until the first window is full.
                out = np.pad(out, (hop - len(out), 0))
                late = card.write(np.ascontiguousarray(out[:, None]))
                meter.overruns += bool(lost) + bool(late)
    except InputError:
        raise
    except (sound.PortAudioError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InputError(
            f"sound device: {line}; expected one that records and plays at "
            f"{rate} Hz, or --input FILE"
        ) from error


def _sounddevice() -> Any:
    return import_optional(
        "sounddevice",
        "pip install 'speechbrain-dsn[mic]'; the PortAudio library, which its "
        "wheel for Linux lacks: apt-get install libportaudio2; or --input FILE",
    )


def _device(name: str | None) -> int | str | None:
    return int(name) if name is not None and name.isdigit() else name
