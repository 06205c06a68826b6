"""Two ranks train as one: equal weights, one writer."""

import os
import re
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

from speechbrain_dsn.miniset import miniset_folder

FOLDERS = Path(__file__).parents[1] / "recipes/Folders/enhance"

# Writes a digest of each rank's weights after the run.
SCRIPT = """
import hashlib, os, sys
from speechbrain_dsn.training import enhancement, brain
fit = brain.DynamicBrain.fit
def digest(self, *args, **kwargs):
    fit(self, *args, **kwargs)
    sha = hashlib.sha256()
    for value in self.enhancer.state_dict().values():
        sha.update(value.contiguous().numpy().tobytes())
    with open(f"{os.environ['DIGESTS']}/{os.environ['RANK']}", "w") as file:
        file.write(sha.hexdigest())
brain.DynamicBrain.fit = digest
sys.argv[0] = "train.py"
exec(compile(open("train.py").read(), "train.py", "exec"))
"""


def test_two_ranks_hold_one_network(tmp_path):
    """Every stage of the plan: open, random gates, the policy."""
    script = tmp_path / "digest.py"
    script.write_text(SCRIPT, "utf-8")
    digests = tmp_path / "digests"
    digests.mkdir()
    options = {
        "data_folder": miniset_folder(),
        "output_folder": tmp_path / "out",
        "clip_seconds": 0.5,
        "batch_size": 2,
        "batches_per_epoch": 4,
        "scored_clips": 4,
        "plan": "{open: 1, random: 1, policy: 1}",
        "strengths": "[]",
        "test_budgets": "[]",
        "test_metrics": "[si_sdr]",
        "device": "cpu",
        "distributed_backend": "gloo",
    }
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
        + ["--master_port=0", "--standalone", str(script)]
        + ["hparams/dsn.yaml", "--noprogressbar"]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=FOLDERS,
        env={**os.environ, "DIGESTS": str(digests)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name: path.read_text("utf-8") for path in digests.iterdir()}
    assert set(found) == {"0", "1"} and found["0"] == found["1"]
    log = (tmp_path / "out/train_log.txt").read_text("utf-8")
    epochs = re.findall(r"(?m)^epoch: (\d+)", log)
    assert epochs == ["1", "2", "3"]
    weights = load_file(tmp_path / "out/model/model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())
