"""Peak memory of a process that does one thing.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np

from speechbrain_dsn.pretrained import LoadedModel, make_card, save_model

SECONDS = 120


def peak_memory(model: LoadedModel) -> dict[str, float]:
    """Peak resident memory, each in a process of its own.

    Arguments
    ---------
    model : LoadedModel
        Any.

    Returns
    -------
    dict of str to float
        In MB: after the imports alone, streaming on onnxruntime, and a file
        of `SECONDS` in blocks in PyTorch. Empty where there is no ``/proc``.
    """
    if not Path("/proc/self/status").exists():
        return {}
    context = multiprocessing.get_context("spawn")
    peaks = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        card = make_card(model.config, model.enhancer)
        save_model(folder, model.enhancer, model.config, card)
        for name in ("imports", "streaming", "offline"):
            # A worker serves one task, so that no peak hides another.
            with context.Pool(1, maxtasksperchild=1) as pool:
                peaks[name] = pool.apply(_peak, (name, str(folder)))
    return peaks


def _peak(name: str, folder: str) -> float:
    import torch

    from speechbrain_dsn.inference.memory import keep_freed_memory
    from speechbrain_dsn.inference.streaming import StreamingEnhancement

    torch.set_num_threads(1)
    keep_freed_memory()
    if name == "streaming":
        stream = StreamingEnhancement.from_pretrained(folder)
        for _ in range(10):
            stream.run(np.zeros(16000, np.float32), 16000)
    if name == "offline":
        _enhance_file(folder)
    # Not getrusage: its peak includes what the parent had when it forked.
    status = Path("/proc/self/status").read_text("utf-8")
    (line,) = [x for x in status.splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _enhance_file(folder: str) -> None:
    from speechbrain_dsn.dataio.audio import write_audio
    from speechbrain_dsn.inference.files import enhance_to_file
    from speechbrain_dsn.pretrained import load_model

    with tempfile.TemporaryDirectory() as temporary:
        noisy, out = (Path(temporary) / x for x in ("in.wav", "out.wav"))
        noise = np.random.default_rng(0).normal(0, 0.1, (SECONDS * 16000, 1))
        write_audio(noisy, noise.clip(-1, 1), 16000)
        enhance_to_file(load_model(folder), noisy, out, None, False)
