"""Published layouts become the lists that SpeechBrain's recipes read."""

import shutil

import numpy as np
import pytest
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.separation import (
    SPLITS,
    prepare_librimix,
    prepare_wham,
    prepare_wsj0mix,
    read_mixtures,
)
from speechbrain_dsn.errors import InputError

RATE = 8000


def tree(root, splits, roles, count=3, rate="wav8k/min"):
    """Mixtures that are the sums of their sources."""
    rng = np.random.default_rng(0)
    mixed, *others = roles
    for split in splits:
        for number in range(count):
            parts = rng.standard_normal((len(others), RATE // 2)) / 20
            for role, wav in zip(roles, [parts.sum(0), *parts], strict=True):
                path = root / rate / split / role / f"{number:02d}a.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_audio(path, wav, RATE, "FLOAT")
    return root


WSJ = ("tr", "cv", "tt")
LAYOUTS = {
    "wsj0-2mix": (
        (WSJ, ("mix", "s1", "s2")),
        (prepare_wsj0mix, {}),
        [f"wsj_{split}.csv" for split in WSJ],
    ),
    "wsj0-3mix": (
        (WSJ, ("mix", "s1", "s2", "s3")),
        (prepare_wsj0mix, {"num_spks": 3}),
        [f"wsj_{split}.csv" for split in WSJ],
    ),
    "wham": (
        (WSJ, ("mix_both", "s1", "s2", "noise")),
        (prepare_wham, {}),
        [f"whamorg_{split}.csv" for split in WSJ],
    ),
    "whamr": (
        (WSJ, ("mix_both_reverb", "s1_anechoic", "s2_anechoic", "noise")),
        (prepare_wham, {"reverb": True}),
        [f"whamr_{split}.csv" for split in WSJ],
    ),
    "libri2mix": (
        (("train-100", "dev", "test"), ("mix_clean", "s1", "s2")),
        (prepare_librimix, {"train_set": "train-100"}),
        [f"libri2mix_{split}.csv" for split in ("train-100", "dev", "test")],
    ),
    "libri3mix-noisy": (
        (
            ("train-360", "dev", "test"),
            ("mix_both", "s1", "s2", "s3", "noise"),
        ),
        (prepare_librimix, {"num_spks": 3, "noise": True}),
        [f"libri3mix_{split}.csv" for split in ("train-360", "dev", "test")],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_lists_have_names_columns_and_files(name, tmp_path):
    layout, (prepare, options), names = LAYOUTS[name]
    root = tree(tmp_path / "corpus", *layout)
    lists = prepare(root, tmp_path / "lists", **options)
    assert list(lists) == list(SPLITS)
    assert [path.name for path in lists.values()] == names
    roles = layout[1]
    speakers = [role for role in roles[1:] if role != "noise"]
    for path in lists.values():
        columns = path.read_text("utf-8").splitlines()[0].split(",")
        wanted = [f"s{n}" for n in range(1, len(speakers) + 1)]
        wanted = ["mix", *wanted, *(["noise"] if "noise" in roles else [])]
        kinds = ("wav", "wav_format", "wav_opts")
        wanted = [f"{role}_{kind}" for role in wanted for kind in kinds]
        assert columns == ["ID", "duration", *wanted]
        mixtures = read_mixtures(path)
        assert len(mixtures) == 3
        mixture, sources = mixtures[0].load(RATE)
        assert sources.shape == (RATE // 2, len(speakers))
        rest = mixture - sources.sum(1)
        assert (np.abs(rest).max() > 1e-3) == ("noise" in roles)
        assert (mixtures[0].noise is not None) == ("noise" in roles)


def test_speechbrain_reads_the_lists(tmp_path):
    root = tree(tmp_path / "corpus", *LAYOUTS["wsj0-2mix"][0])
    lists = prepare_wsj0mix(root, tmp_path / "lists")
    data = DynamicItemDataset.from_csv(
        str(lists["train"]), output_keys=["id", "mix_wav", "s1_wav", "duration"]
    )
    first = data[0]
    assert first["id"] == "00a" and first["duration"] == 0.5
    assert first["s1_wav"].endswith("tr/s1/00a.wav")


def test_mixtures_of_ones_own(tmp_path):
    roles = ("mixture", "source1", "source2")
    root = tree(tmp_path / "mine", SPLITS, roles, rate=".")
    lists = prepare_wsj0mix(root, tmp_path / "lists")
    assert lists["train"].name == "custom_train.csv"
    assert len(read_mixtures(lists["test"])) == 3


def test_prepared_once_and_again_when_files_change(tmp_path):
    root = tree(tmp_path / "corpus", *LAYOUTS["wsj0-2mix"][0])
    lists = prepare_wsj0mix(root, tmp_path / "lists")
    stamp = lists["train"].stat().st_mtime_ns
    prepare_wsj0mix(root, tmp_path / "lists")
    assert lists["train"].stat().st_mtime_ns == stamp
    (root / "wav8k/min/tr/s1/00a.wav").unlink()
    prepare_wsj0mix(root, tmp_path / "lists")
    assert [x.name for x in read_mixtures(lists["train"])] == ["01a", "02a"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="found no .*nowhere"):
        prepare_wsj0mix(tmp_path / "nowhere", tmp_path)
    root = tree(tmp_path / "corpus", *LAYOUTS["wsj0-2mix"][0])
    with pytest.raises(InputError, match="wav16k"):
        prepare_wsj0mix(root, tmp_path / "lists", sample_rate=16000)
    with pytest.raises(InputError, match="expected 2 or 3, got 4"):
        prepare_wsj0mix(root, tmp_path / "lists", num_spks=4)
    for path in (root / "wav8k/min/cv/mix").iterdir():
        path.write_bytes(b"no audio")
    with pytest.raises(InputError, match="cv: expected mixtures"):
        prepare_wsj0mix(root, tmp_path / "lists")
    shutil.rmtree(root / "wav8k/min/tt/s2")
    with pytest.raises(InputError, match="tt/s2"):
        prepare_wsj0mix(root, tmp_path / "lists")
