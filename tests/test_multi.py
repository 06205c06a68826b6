"""Many streams at once are as many single streams."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import save_tiny, tiny_model, tiny_router

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.onnx import export_onnx
from speechbrain_dsn.inference.multi import MultiStreamEnhancement
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.streaming import make_controller

HOP = 256


@pytest.fixture(scope="module", params=["gate", "widths"])
def model(request):
    """Logits far apart, so that no gate hangs on a rounding error."""
    if request.param == "widths":
        return tiny_router(depth=5)  # of the same hop
    model = tiny_model()
    model.enhancer.lobe.policy.head.weight.data.mul_(100)
    wav = torch.from_numpy(hops(0, 40).reshape(1, -1))
    with torch.no_grad():
        logits = model.enhancer(wav)[1].logits.flatten()
    model.enhancer.lobe.policy.head.bias.data -= logits.mean()
    return model


@pytest.fixture(scope="module")
def sessions(model):
    return OnnxSession.from_model(model), OnnxSession.from_model(model, True)


def hops(seed, frames):
    random = np.random.default_rng(seed)
    level = random.uniform(0, 0.3, (frames, 1))
    return (level * random.normal(size=(frames, HOP))).astype(np.float32)


class Single:
    """One stream on its own, hop by hop."""

    def __init__(self, session, bias=0.0, controller=None):
        self.lane = session.make_lane()
        self.bias, self.controller = bias, controller

    def hop(self, samples):
        bias = self.controller.bias if self.controller else self.bias
        out, logits = self.lane.advance(samples, np.float32([bias]))
        if self.controller:
            self.controller.update(logits[0])
        return out


ACTION = st.sampled_from(["join", "tick", "tick", "tick", "leave"])


@pytest.mark.parametrize("hold", [False, True])
@given(st.lists(ACTION, max_size=40), st.randoms(use_true_random=False))
def test_as_single_streams(sessions, hold, actions, random):
    single, batch = sessions
    many = MultiStreamEnhancement(batch, 0.5, hold, block=3)
    alone, frame = {}, 0
    for action in ["join", "join", *actions, "tick"]:
        if action == "join":
            controller = make_controller(many.info, 0.5) if hold else None
            bias = many.info.bias(0.5)
            alone[many.join()] = Single(single, bias, controller)
        elif action == "leave" and many.streams:
            stream = random.choice(many.streams)
            many.leave(stream)
            del alone[stream]
        else:
            frame += 1
            samples = hops(frame, 20)[: len(many.streams)]
            out = many.tick(samples)
            assert out.shape == samples.shape
            for stream, row, got in zip(
                many.streams, samples, out, strict=True
            ):
                expected = alone[stream].hop(row)
                np.testing.assert_allclose(got, expected, atol=1e-4)
        assert set(alone) == set(many.streams)


def test_all_branches_ran(sessions):
    many = MultiStreamEnhancement(sessions[1], block=4)
    for _ in range(6):
        many.join()
    for frame in range(20):
        many.tick(hops(frame, 6))
    counts = many._usage.counts
    assert many.frames == 120 and 5 < counts.min() and counts.max() < 115
    assert 0.1 < many.activation < 0.9


def test_numbers_are_not_used_twice_and_memory_is_given_back(sessions):
    many = MultiStreamEnhancement(sessions[1], block=2)
    seen = [many.join() for _ in range(5)]
    assert len(many._states) == 3
    for stream in seen[:4]:
        many.leave(stream)
    assert many.streams == [seen[4]] and len(many._states) == 1
    assert many.join() not in seen


def test_a_bad_hop_changes_nothing(sessions):
    many = MultiStreamEnhancement(sessions[1])
    expected = MultiStreamEnhancement(sessions[1])
    for _ in range(2):
        many.join(), expected.join()
    bad = hops(0, 2)
    bad[1, 7] = np.nan
    for samples, message in (
        (bad, f"stream {many.streams[1]}"),
        (hops(0, 3), "expected .2, 256."),
        (hops(0, 2)[0], "expected .2, 256."),
    ):
        with pytest.raises(InputError, match=message):
            many.tick(samples)
    assert np.array_equal(many.tick(hops(1, 2)), expected.tick(hops(1, 2)))
    with pytest.raises(InputError, match="no stream 77"):
        many.leave(77)


def test_no_stream_is_fine(sessions):
    many = MultiStreamEnhancement(sessions[1])
    assert many.tick(np.zeros((0, HOP))).shape == (0, HOP)
    assert many.activation == 0


def test_sources(model, sessions, tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    file = export_onnx(model, tmp_path / "tiny.onnx", batch=True)
    for source in (folder, file):
        many = MultiStreamEnhancement.from_pretrained(source, 0.5)
        many.join()
        assert many.tick(hops(0, 1)).shape == (1, HOP)
    with pytest.raises(InputError, match="--batch"):
        MultiStreamEnhancement(sessions[0])
    with pytest.raises(InputError, match="block 0"):
        MultiStreamEnhancement(sessions[1], block=0)
    static = OnnxSession.from_model(tiny_model(static=True), True)
    with pytest.raises(InputError, match="static"):
        MultiStreamEnhancement(static, 0.5, hold=True)
