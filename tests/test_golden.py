"""A pinned model, a pinned clip, pinned scores: torch and ONNX Runtime."""

import hashlib

import numpy as np
import pytest
import soundfile
from tiny_model import tiny_model

from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.inference.streaming import StreamingEnhancement
from speechbrain_dsn.metrics import evaluate_pair
from speechbrain_dsn.miniset import miniset_folder

SAMPLES = 48_000  # 3 s
CLIP = "machine_+0dB_16000.flac"
# Of the weights and of both signals. Where these change, so may the scores.
HASHES = {
    "weights": "ce7da4ebea1b751916eefaa1a280728a306406bb36692ee45c00b407399cc6f7",
    "noisy": "9139b8aa6cabdb02ebe6446da6fd05ea562c81157f5cff4bef1359109593978a",
    "clean": "5dc30f725de79fcfc8b280de0f0d3c67c75d31631a9bb58d1a576567fceab539",
}
SCORES = {
    "si_sdr": 0.8615,
    "dnsmos_sig": 1.7118,
    "dnsmos_bak": 1.2053,
    "dnsmos_ovrl": 1.3024,
}
NOISY = {
    "si_sdr": 0.5248,
    "dnsmos_sig": 1.5489,
    "dnsmos_bak": 1.1585,
    "dnsmos_ovrl": 1.2441,
}


@pytest.fixture(scope="module")
def model():
    """A mask of random weights, softened so that something is left."""
    return tiny_model(front_end_arguments={"strength": 0.3})


@pytest.fixture(scope="module")
def clip():
    read = {}
    for kind in ("noisy", "clean"):
        path = miniset_folder() / "clips" / kind / CLIP
        read[kind] = soundfile.read(path, SAMPLES, dtype="float32")[0]
    return read


def sha(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def scores(clip, estimate):
    found = evaluate_pair(clip["clean"], estimate, 16_000, SCORES)
    return {name: score.value for name, score in found.items()}


def test_model_and_clip_are_those_of_the_scores(model, clip):
    state = model.enhancer.state_dict()
    found = {"weights": sha(*(each.numpy() for each in state.values()))}
    assert found | {kind: sha(x) for kind, x in clip.items()} == HASHES


def test_scores_of_the_clip_itself(clip):
    assert scores(clip, clip["noisy"]) == pytest.approx(NOISY, abs=5e-4)


@pytest.mark.parametrize("make", [TorchSession, OnnxSession.from_model])
def test_scores_to_three_digits(model, clip, make):
    stream = StreamingEnhancement(make(model))
    enhanced = [stream.run(clip["noisy"], 16_000), stream.flush()]
    found = scores(clip, np.concatenate(enhanced))
    assert found == pytest.approx(SCORES, abs=5e-4)
