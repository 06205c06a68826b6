"""``demo`` enhances the bundled clips and trains by the mini recipe."""

import pytest
from tiny_model import save_tiny

from speechbrain_dsn.cli import demo
from speechbrain_dsn.cli.main import main
from speechbrain_dsn.miniset import demo_clips, miniset_folder


def test_clips_are_enhanced_drawn_and_scored(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "METRICS", ("si_sdr",))  # quick
    model = save_tiny(tmp_path / "tiny")
    out = tmp_path / "demo"
    command = ["demo", "-o", str(out), "--minutes", "0"]
    for _ in range(2):  # a second demo replaces the first
        assert main([*command, "--model", str(model)]) == 0
    names = {path.name for path in (out / "clips").iterdir()}
    text = capsys.readouterr().out
    for noisy, _ in demo_clips():
        assert {noisy.name, f"{noisy.stem}.png"} <= names
        assert noisy.stem in text
    assert "SI-SDR" in text and "->" in text and "M MAC/s" in text


def test_training_runs_the_mini_recipe(tmp_path, monkeypatch):
    pytest.importorskip("speechbrain_dsn.training.enhancement")
    called = []
    monkeypatch.setattr(
        "speechbrain_dsn.training.enhancement.run_enhancement",
        lambda hparams, run_opts: called.append(hparams),
    )
    demo.train_mini(tmp_path / "mini", minutes=2)
    (hparams,) = called
    assert hparams["data_folder"] == str(miniset_folder())
    assert hparams["output_folder"] == str(tmp_path / "mini")
    assert hparams["batches_per_epoch"] == 2 * demo.BATCHES_PER_MINUTE


def test_bad_arguments(tmp_path, capsys):
    assert main(["demo", "--minutes", "-1"]) == 2
    assert "--minutes -1" in capsys.readouterr().err
    assert main(["demo", "-o", str(tmp_path), "--model", "no"]) == 2
    assert "no model 'no'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    model = save_tiny(tmp_path / "tiny")
    command = ["demo", "-o", str(tmp_path / "file"), "--model", str(model)]
    assert main(command) == 2
    assert "cannot make folder" in capsys.readouterr().err
