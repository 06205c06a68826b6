"""Hours of a stream in one process: memory, drift, and the time of silence.

Speech, noise and silence of the bundled mini set go through one stream, a
hop at a time, as fast as they can. Three things have to hold:

- memory is flat: the process is no larger at the end than a tenth of the
  time in, give or take `MEMORY_MIB`;
- nothing drifts: over the last minute the stream gives, to `TOLERANCE` of
  its level, what the model gives that hears only `WARM_UP` seconds before it
  and that minute, at once;
- silence is not slow: a frame of it takes at most `SLOWDOWN` times as long
  as one of speech, though the state of a recurrent net decays to denormal
  numbers there.

    python benchmarks/soak.py --hours 6 --json soak.json

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechbrain_dsn.dataio.audio import read_audio, resample
from speechbrain_dsn.inference.backends import open_session
from speechbrain_dsn.inference.stream import Stream
from speechbrain_dsn.miniset import demo_clips
from speechbrain_dsn.pretrained import load_model

MEMORY_MIB = 16
WARM_UP = 120  # seconds after which a recurrent net has forgotten
TOLERANCE = 1e-3
SLOWDOWN = 1.2
TAPE = 300  # seconds, of which a fifth is silence


def make_tape(rate: int, seconds: float = TAPE) -> np.ndarray:
    """Noisy speech with pauses, float32 ``[T]``; the same at every call."""
    random, parts, length = np.random.default_rng(0), [], 0
    clips = []
    for noisy, _ in demo_clips():
        samples, source = read_audio(noisy, mono=True)
        clips.append(resample(samples[:, 0], source, rate))
    while length < seconds * rate:
        clip = clips[random.integers(len(clips))] * random.uniform(0.1, 1)
        pause = np.zeros(len(clip) // 4, np.float32)
        parts += [clip.astype(np.float32), pause]
        length += len(clip) + len(pause)
    return np.concatenate(parts)[: round(seconds * rate)]


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def soak(stream: Stream, tape: np.ndarray, seconds: float) -> dict[str, Any]:
    """Runs the tape round and round; memory on the way, and the last minute.

    Arguments
    ---------
    stream : Stream
        At its start.
    tape : np.ndarray
        ``[T]``.
    seconds : float
        Of audio, at least three minutes.

    Returns
    -------
    dict
        ``memory_mib`` (a hundred values), ``seconds``, ``real_time_factor``,
        ``last`` (the last minute that came out) and ``at`` (its first sample).
    """
    info, memory = stream.info, []
    hops = round(seconds * info.sample_rate / info.hop)
    last, given = np.zeros(60 * info.sample_rate, np.float32), 0  # a ring
    begin = time.perf_counter()
    for hop in range(hops):
        place = np.arange(hop * info.hop, (hop + 1) * info.hop) % len(tape)
        out = stream.run(tape[place])
        last[np.arange(given, given + len(out)) % len(last)] = out
        given += len(out)
        if hop % max(1, hops // 100) == 0:
            gc.collect()
            memory.append(resident_mib())
    spent = time.perf_counter() - begin
    heard = hops * info.hop / info.sample_rate
    return {
        "seconds": heard,
        "real_time_factor": spent / heard,
        "memory_mib": memory,
        "last": np.roll(last, -given % len(last)),
        "at": given - len(last),
    }


@torch.no_grad()
def drift(model: Any, found: dict[str, Any], tape: np.ndarray) -> float:
    """RMS of the difference to the model that hears the end at once, over
    that of its output: a single gate that falls the other way, where its
    logit is 0 but for rounding, is no drift."""
    rate, hop = model.config.sample_rate, model.enhancer.hop
    start = max(0, found["at"] - WARM_UP * rate) // hop * hop
    end = found["at"] + len(found["last"]) + 4 * hop + model.enhancer.delay
    wav = tape[np.arange(start, end) % len(tape)]
    whole = model.enhancer(torch.from_numpy(wav)[None], **model.decide())[0]
    begin = found["at"] - start
    offline = whole[0, begin : begin + len(found["last"])].numpy()
    error = np.square(offline - found["last"]).mean()
    return float(np.sqrt(error / np.square(offline).mean()))


def slowdown(stream: Stream, tape: np.ndarray) -> dict[str, float]:
    """Median time of a frame, in ms, on speech and on the silence after it.

    They are heard in turns of ten seconds, so that the load of the machine is
    the same for all.
    """
    info = stream.info
    silence = np.zeros(info.hop, np.float32)
    tiny = np.full(info.hop, 1e-42, np.float32)  # denormal itself
    times: dict[str, list[float]] = {
        "speech": [],
        "silence": [],
        "denormal": [],
    }
    second = max(1, round(info.sample_rate / info.hop))
    sounding = [
        hop
        for hop in tape[: len(tape) // info.hop * info.hop].reshape(
            -1, info.hop
        )
        if np.abs(hop).max() > 1e-3
    ]
    for turn in range(20):
        speech = sounding[turn * second : (turn + 1) * second]
        for name, frames in (
            ("speech", speech * 10),
            ("silence", [silence] * 10 * second),
            ("speech", speech * 10),
            ("denormal", [tiny] * 10 * second),
        ):
            for frame in frames:
                begin = time.perf_counter()
                stream.run(frame)
                times[name].append(time.perf_counter() - begin)
    return {name: 1000 * float(np.median(x)) for name, x in times.items()}


def main(argv: list[str] | None = None) -> int:
    """Soaks a model; 1 if one of the three does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--model", default="mgt-dsn")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args(argv)
    if not args.hours * 3600 >= 180:
        parser.error(f"--hours {args.hours:g}: expected three minutes or more")
    torch.set_num_threads(1)
    model = load_model(args.model)
    session = open_session(args.model, args.backend)
    tape = make_tape(session.info.sample_rate)
    bias = session.info.bias(None)
    found = soak(Stream(session, bias), tape, 3600 * args.hours)
    memory = found["memory_mib"]
    times = slowdown(Stream(session, bias), tape)
    slow = max(times["silence"], times["denormal"]) / times["speech"]
    values = {
        "model": args.model,
        "backend": session.backend,
        "seconds": found["seconds"],
        "real_time_factor": found["real_time_factor"],
        "memory_growth_mib": memory[-1] - memory[len(memory) // 10],
        "drift": drift(model, found, tape),
        "frame_ms": times,
        "silence_over_speech": slow,
    }
    checks = {
        "faster than real time": values["real_time_factor"] < 1,
        "memory flat": values["memory_growth_mib"] <= MEMORY_MIB,
        "no drift": values["drift"] <= TOLERANCE,
        "silence not slow": slow <= SLOWDOWN,
    }
    text = json.dumps(values | {"holds": checks}, indent=1)
    print(text)
    if args.json:
        part = Path(args.json + ".part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(args.json)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
