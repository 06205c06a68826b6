"""What every recipe's YAML has, whatever it is for."""

import re


def top_level_keys(path):
    return re.findall(r"(?m)^(\w+):", path.read_text("utf-8"))


def check_header_and_keys(path):
    """It says what it is and how it is run; its first keys are the same."""
    text = path.read_text("utf-8")
    header = re.match(r"(#.*\n)+", text)[0]
    run = rf"# Run: python train\.py hparams/{path.name} --data_folder /"
    assert re.search(run, header) and "# Authors\n#  * " in header
    assert (path.parents[1] / "train.py").is_file()
    assert (path.parents[1] / "README.md").is_file()
    assert max(map(len, text.splitlines())) <= 80
    keys = top_level_keys(path)
    assert keys[:4] == ["seed", "__set_seed", "data_folder", "output_folder"]
    assert len(keys) == len(set(keys))
