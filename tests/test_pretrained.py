"""Model folders come back as they were saved, and bad ones are refused."""

import json
import pickle
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    available,
    load_model,
    make_card,
    save_model,
)
from speechbrain_dsn.pretrained import folder as folders

CALIBRATION = Calibration((0.0, 0.5, 1.0), (-9.0, 0.5, 9.0))
TINY = {"channels": [8, 8, 16]}


def dynamic_config(**changes):
    return ModelConfig(
        **{
            "name": "tiny-dsn",
            "lobe": "dynamic_ftfnet",
            "lobe_arguments": TINY,
            "calibration": CALIBRATION,
            "info": {"steps": 3, "data": "noise"},
            **changes,
        }
    )


@pytest.fixture
def folder(tmp_path):
    config = dynamic_config()
    return save_model(tmp_path / "tiny", config.build(), config, "# tiny\n")


def test_half_precision_is_half_the_bytes_and_near(folder, tmp_path):
    model = load_model(folder)
    small = save_model(
        tmp_path / "half", model.enhancer, model.config, "#", half=True
    )
    sizes = [(f / "model.safetensors").stat().st_size for f in (folder, small)]
    assert sizes[1] < 0.7 * sizes[0]  # the rest is the header
    again = load_model(small).enhancer.state_dict()
    for name, tensor in model.enhancer.state_dict().items():
        assert again[name].dtype == tensor.dtype
        torch.testing.assert_close(again[name], tensor, rtol=2**-11, atol=1e-7)
    with torch.no_grad():
        next(model.enhancer.parameters()).fill_(1e5)
    with pytest.raises(InputError, match="NaN or Inf"):
        save_model(
            tmp_path / "no", model.enhancer, model.config, "#", half=True
        )


def edit_config(folder, **changes):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps(values))


def edit_weights(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        load_model(folder)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def test_what_is_saved_comes_back(tmp_path):
    config = dynamic_config(default_budget=0.5)
    enhancer = config.build()
    folder = save_model(tmp_path / "deep" / "tiny", enhancer, config, "# é\n")
    model = load_model(str(folder))
    assert model.config == config and not model.enhancer.training
    assert (folder / "README.md").read_text("utf-8") == "# é\n"
    wav = torch.randn(1, 3000)
    with torch.no_grad():
        before, decision = enhancer(wav)
        after, again = model.enhancer(wav)
    assert torch.equal(before, after)
    assert torch.equal(decision.logits, again.logits)
    assert model.enhancer.lobe.frame_rate == 62.5


def test_building_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    dynamic_config().build()
    assert torch.equal(torch.rand(4), expected)


def test_lobe_follows_the_front_end():
    config = dynamic_config(
        front_end_arguments={"n_fft": 256, "hop": 128}, sample_rate=8000
    )
    enhancer = config.build()
    assert enhancer.lobe.bins[0] == 129
    assert enhancer.lobe.frame_rate == 62.5
    wav, _ = enhancer(torch.randn(1, 1000))
    assert wav.shape == (1, 1000)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"surprise": 1}, ["unknown key 'surprise'"]),
        ({"lobe": "os.system"}, ["os.system", "dynamic_ftfnet"]),
        ({"lobe": ["ftfnet"]}, ["lobe"]),
        ({"lobe_arguments": {"channels": [8, 8, 10**9]}}, ["channels", "256"]),
        ({"lobe_arguments": {"channels": 8}}, ["channels", "3 integers"]),
        ({"lobe_arguments": {"bins": 257}}, ["unknown argument bins"]),
        ({"lobe_arguments": {"groups": True}}, ["groups", "integer"]),
        ({"lobe_arguments": {"temperature": "hot"}}, ["temperature"]),
        ({"lobe_arguments": [1]}, ["dynamic_ftfnet"]),
        ({"lobe_arguments": {**TINY, "groups": 5}}, ["cannot be built"]),
        ({"front_end_arguments": {"n_fft": 500}}, ["cannot be built", "n_fft"]),
        ({"front_end": "wave"}, ["wave", "spectral"]),
        ({"sample_rate": 1e9}, ["sample_rate", "48000"]),
        ({"name": "../up"}, ["../up", "lower case"]),
        ({"kind": "magic"}, ["magic", "enhancement"]),
        ({"format_version": 2}, ["format_version is 2", "reads 1"]),
        ({"license": None}, ["license"]),
        ({"info": {"a": [1]}}, ["info"]),
        ({"default_budget": 2}, ["default_budget", "0 to 1"]),
        ({"calibration": None, "default_budget": 0.5}, ["calibration"]),
        ({"calibration": 3}, ["calibration"]),
        ({"calibration": {"budgets": [0, 1]}}, ["missing key 'biases'"]),
        (
            {"calibration": {"budgets": [0, 1], "biases": [1, 0]}},
            ["ascending"],
        ),
        (
            {"calibration": {"budgets": [0, 1], "biases": ["a", 0]}},
            ["finite numbers"],
        ),
    ],
)
def test_bad_config_is_refused_by_name(folder, changes, words):
    edit_config(folder, **changes)
    refused(folder, "config.json", *words)


def test_missing_key_is_named(folder):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    del values["sample_rate"]
    path.write_text(json.dumps(values))
    refused(folder, "missing key 'sample_rate'")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": "a", "name": "b"}',
        b" " * (2 << 20),
    ],
)
def test_config_that_is_no_config_is_refused(folder, text):
    (folder / "config.json").write_bytes(text)
    refused(folder, "config.json")


def test_static_model_takes_no_calibration():
    with pytest.raises(InputError, match="static"):
        ModelConfig("a", "ftfnet", calibration=CALIBRATION)


@given(
    channels=st.lists(st.integers(1, 20), min_size=3, max_size=3),
    groups=st.integers(1, 8),
    static_groups=st.integers(0, 8),
    n_fft=st.integers(16, 200),
    hop=st.integers(8, 100),
)
def test_allowed_arguments_build_or_are_refused(
    channels, groups, static_groups, n_fft, hop
):
    """In range but ill matched: a clear error, never another one."""
    try:
        enhancer = dynamic_config(
            lobe_arguments={
                "channels": channels,
                "groups": groups,
                "static_groups": static_groups,
            },
            front_end_arguments={"n_fft": n_fft, "hop": hop},
        ).build()
    except InputError as error:
        assert "cannot be built" in str(error)
    else:
        with torch.no_grad():
            wav, _ = enhancer(torch.randn(1, 300))
        assert wav.shape == (1, 300)


def test_missing_unknown_and_misshaped_tensors_are_named(folder):
    name = "lobe.conv2.bias"
    edit_weights(folder, lambda tensors: tensors.pop(name))
    refused(folder, "missing tensor", name)
    edit_weights(folder, lambda tensors: tensors.update({name: torch.zeros(9)}))
    refused(folder, name, "[9]", "[8]")
    edit_weights(folder, lambda tensors: tensors.update(evil=torch.zeros(2)))
    refused(folder, "unknown tensor evil")


def test_nan_and_other_types_are_refused(folder):
    name = "lobe.conv2.bias"
    edit_weights(folder, lambda t: t[name].fill_(float("nan")))
    refused(folder, "NaN", name)
    edit_weights(folder, lambda t: t.update({name: t[name].double()}))
    refused(folder, "float64", name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 50) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 5) + b"hello" + b"\0" * 100,
    ],
)
def test_weights_that_are_no_safetensors_are_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "model.safetensors")


class Bomb:
    """A pickle that leaves a mark when it is read."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (self.canary, "w")


def test_pickles_are_refused_and_never_run(folder, tmp_path):
    canary = tmp_path / "canary"
    bomb = pickle.dumps(Bomb(str(canary)))
    (folder / "model.safetensors").write_bytes(bomb)
    refused(folder, "safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.ckpt").write_bytes(bomb)
    refused(folder, "pickle model.ckpt", "model.safetensors")
    assert not canary.exists()


def test_names_do_not_leave_the_package(tmp_path, monkeypatch, folder):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(folders, "shipped_folder", lambda: home)
    config = dynamic_config()
    save_model(home / "good", config.build(), config, "")
    (home / "link").symlink_to(folder)
    (home / "empty").mkdir()
    (home / "__pycache__").mkdir()
    assert available() == ["good"]
    assert load_model("good").config == config
    for name in ("link", "empty", "../tiny", "good/../good"):
        refused(name, f"no model '{name}'", "good")


def test_every_shipped_model_loads():
    for name in available():
        model = load_model(name)
        assert model.config.name == name
        assert isinstance(model.decide(), dict)


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    config = dynamic_config()
    enhancer = config.build()
    target = save_model(tmp_path / "tiny", enhancer, config, "first")
    with pytest.raises(InputError, match="exists already"):
        save_model(target, enhancer, config, "second")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            save_model(target, enhancer, config, "second", overwrite=True)
    assert (target / "README.md").read_text() == "first"
    save_model(target, enhancer, config, "second", overwrite=True)
    assert (target / "README.md").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_what_cannot_be_loaded_is_not_saved(tmp_path):
    config = dynamic_config()
    enhancer = config.build()
    other = dynamic_config(lobe_arguments={"channels": [8, 8, 8]})
    with pytest.raises(InputError, match="tiny-dsn"):
        save_model(tmp_path / "a", enhancer, other, "")
    with torch.no_grad():
        enhancer.lobe.conv1.bias.fill_(float("inf"))
    with pytest.raises(InputError, match="conv1.bias"):
        save_model(tmp_path / "a", enhancer, config, "")
    assert not list(tmp_path.iterdir())


def test_budget_becomes_a_bias():
    config = dynamic_config()
    model = LoadedModel(config.build(), config)
    assert model.decide() == {"bias": 0.0}
    assert model.decide(0.5) == {"bias": 0.5}
    half = dynamic_config(default_budget=0.5)
    assert LoadedModel(model.enhancer, half).decide() == {"bias": 0.5}
    for budget in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="0 to 1"):
            model.decide(budget)


def test_budget_needs_a_model_that_has_one():
    static = ModelConfig("still", "ftfnet", TINY)
    model = LoadedModel(static.build(), static)
    assert model.decide() == {}
    with pytest.raises(InputError, match="still is static"):
        model.decide(0.5)
    bare = dynamic_config(calibration=None)
    with pytest.raises(InputError, match="no calibration"):
        LoadedModel(bare.build(), bare).decide(0.5)


def test_card_tells_cost_and_licence():
    config = dynamic_config(default_budget=0.5, license="CC0-1.0")
    card = make_card(config, config.build(), "Some words.")
    for part in ("# tiny-dsn", "CC0-1.0", "closed", "Some words.", "steps"):
        assert part in card
