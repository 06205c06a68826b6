"""Runs recipes' ``train.py`` in copies of one process that has imported all.

Importing takes longer than a run of a tiny net. Requests come as lines of
JSON, answers go out as such; see `Recipes` in recipe_runs.py. Several ranks
get the environment that torchrun gives them.
"""

import hashlib
import json
import os
import random
import runpy
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import speechbrain_dsn  # noqa: F401  # isort: skip
import faults
import speechbrain as sb
import torch
from safetensors.torch import save_file

from speechbrain_dsn.training import (  # noqa: F401
    brain,
    enhancement,
    quality,
    quality_data,
    separation,
    speakers,
)


def ranks_of(request):
    """Environment of each rank; one process without torchrun has none."""
    if request["ranks"] == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {
        "WORLD_SIZE": str(request["ranks"]),
        "LOCAL_WORLD_SIZE": str(request["ranks"]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return [
        world | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        for rank in range(request["ranks"])
    ]


def train(request, environment):
    """What ``python train.py`` does, from its folder."""
    script = Path(request["script"])
    os.environ |= environment
    rank = int(environment.get("RANK", 0))
    log = os.open(f"{request['log']}{rank}", os.O_CREAT | os.O_WRONLY, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    if request["notes"]:
        take_notes(Path(request["notes"]), rank, request["watched"])
    if request["die_before"] is not None and rank == 0:
        faults.die_before(request["die_before"], request["watched"])
    # `pip freeze` takes longer than a run.
    sb.utils.logger.get_environment_description = str
    if not request["results"]:
        for recipe in (enhancement, separation, quality):
            recipe.fit_network = partial(fit_alone, recipe.fit_network)
    os.chdir(script.parent)
    sys.argv = ["train.py", *request["arguments"]]
    runpy.run_path(str(script), run_name="__main__")


def fit_alone(fit, *args):
    """Ends the run after the fit."""
    fit(*args)
    sys.exit()


def take_notes(folder, rank, watched):
    """What this rank computes and writes, for comparisons."""
    kind = brain.DynamicBrain
    notes = {"gates": [], "stats": []}

    def wrap(name, after):
        real = getattr(kind, name)

        def call(self, *args, **kwargs):
            if name == "optimizers_step":
                after(self, None)
                return real(self, *args, **kwargs)
            result = real(self, *args, **kwargs)
            after(self, result, *args)
            return result

        setattr(kind, name, call)

    def gradients(self, _):
        path = folder / f"gradients{rank}.safetensors"
        if not path.exists():
            found = {
                # What did not decide has a gradient on many ranks only.
                k: torch.zeros_like(x) if x.grad is None else x.grad.clone()
                for k, x in self.enhancer.named_parameters()
            }
            save_file(found, path)

    def gates(self, decide, *_):
        if self.gates == "random":
            notes["gates"].append(digest(decide["gate"]))

    def stats(self, _, stage, *__):
        if stage == sb.Stage.TRAIN:
            notes["stats"].append(self.train_stats)

    def weights(self, *_):
        notes["weights"] = digest(*self.enhancer.state_dict().values())
        (folder / f"notes{rank}.json").write_text(json.dumps(notes))

    wrap("optimizers_step", gradients)
    wrap("_gates", gates)
    wrap("on_stage_end", stats)
    wrap("fit", weights)
    changed = folder / f"changed{rank}"

    def note_change(event, path):
        if event != "os.mkdir":  # all see to it that a folder is there
            note(changed, path)

    faults.on_change(watched, note_change)
    save = torch.save  # opens its files out of Python's sight

    def save_and_note(what, path, *args, **kwargs):
        note(folder / f"saved{rank}", path)
        save(what, path, *args, **kwargs)

    torch.save = save_and_note


def note(file, path):
    handle = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.write(handle, f"{path}\n".encode())
    os.close(handle)


def digest(*tensors):
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().contiguous().numpy().tobytes())
    return sha.hexdigest()


def run(request):
    """Starts the ranks, kills the chosen one in time, waits for all."""
    start, before = time.monotonic(), sum(os.times()[2:4])
    pids = [
        faults.fork(lambda env=env: train(request, env))
        for env in ranks_of(request)
    ]
    left, codes = dict(enumerate(pids)), {}
    while left:
        spent = time.monotonic() - start
        if request["seconds"] is not None and spent > request["seconds"]:
            os.kill(left[random.choice(list(left))], signal.SIGKILL)
            request["seconds"] = None
        for rank, pid in list(left.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[rank] = os.waitstatus_to_exitcode(status)
                del left[rank]
        if any(codes.values()):  # as torchrun: one for all
            for rank, pid in left.items():
                os.kill(pid, signal.SIGKILL)
                codes[rank] = faults.outcome(pid)
            left = {}
        time.sleep(0.01)
    return {
        "codes": [codes[rank] for rank in sorted(codes)],
        "seconds": time.monotonic() - start,
        "cpu_seconds": sum(os.times()[2:4]) - before,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)
