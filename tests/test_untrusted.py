"""Files of others: nothing in them runs, none leads elsewhere, none is large.

A canary file is what would be there if something had run. Memory is bounded
in processes of their own, by the system. Complete files of the right kind
that are merely wrong are in test_pretrained.py and test_export.py.
"""

import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from tiny_model import save_tiny, tiny_model

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.onnx import build_step, export_onnx
from speechbrain_dsn.inference.comparison import read_evaluations
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.streaming import Stream
from speechbrain_dsn.pretrained import ModelConfig, load_model
from speechbrain_dsn.pretrained.weights import dump_weights, read_weights
from speechbrain_dsn.quantization.store import load_gru
from speechbrain_dsn.training.checkpointer import RandomState, SafeCheckpointer
from speechbrain_dsn.training.fit import warm_start

GIB = 1 << 30


@pytest.fixture
def canary(tmp_path):
    """A file that must not be there at the end."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "something of an untrusted file has run"


@pytest.fixture
def folder(tmp_path):
    return save_tiny(tmp_path / "tiny")


def refused(call, *words):
    """One line that names these words."""
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and len(line) < 1500
    for word in words:
        assert word in line, line


class Bomb:
    """A pickle that leaves a mark when it is read."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return open, (self.canary, "w")


def yaml_bombs(canary):
    """YAML of every kind that runs something in one loader or another."""
    return {
        "apply": f"a: !apply:pathlib.Path.touch [!new:pathlib.Path ['{canary}']]",
        "new": f"a: !new:subprocess.Popen [[touch, '{canary}']]",
        "python": f"a: !!python/object/apply:os.system ['touch {canary}']",
        "name": "a: !!python/name:os.system",
        "include": "a: !include:/etc/passwd",
    }


# ------------------------------------------------------------ model folders


@pytest.mark.parametrize("name", ["apply", "new", "python", "include"])
def test_yaml_beside_a_model_is_never_read(folder, canary, name):
    """Nor where SpeechBrain's name for loading is used."""
    text = yaml_bombs(canary)[name]
    (folder / "hyperparams.yaml").write_text(text)
    DynamicEnhancement.from_hparams(folder)
    (folder / "config.json").unlink()
    for load in (DynamicEnhancement.from_hparams, load_model):
        refused(lambda load=load: load(folder), "config.json")


@pytest.mark.parametrize("name", ["apply", "new", "python", "include"])
def test_yaml_in_place_of_json_is_refused(folder, canary, name):
    (folder / "config.json").write_text(yaml_bombs(canary)[name])
    refused(lambda: load_model(folder), "no readable JSON")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_pickles_under_the_right_names_are_refused(folder, canary, name):
    (folder / name).write_bytes(pickle.dumps(Bomb(canary)))
    refused(lambda: load_model(folder), name)
    torch.save(Bomb(canary), folder / name)
    refused(lambda: load_model(folder), name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_out_of_the_folder_are_refused(folder, tmp_path, name):
    outside = tmp_path / "secret"
    (folder / name).rename(outside)
    for target in (outside, "../secret", "/etc/passwd"):
        (folder / name).symlink_to(target)
        refused(lambda: load_model(folder), name, "outside the folder")
        (folder / name).unlink()
    # A link within the folder, and one to the folder, lead nowhere else.
    outside.rename(folder / "blob")
    (folder / name).symlink_to("blob")
    (tmp_path / "link").symlink_to(folder)
    load_model(tmp_path / "link")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_no_file_is_not_waited_for(folder, name):
    import os

    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(lambda: load_model(folder), f"holds no {name}")


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lobe_arguments": {"channels": [10**7] * 3}}, ["from 1 to 256"]),
        ({"lobe_arguments": {"channels": [8, 8, 10**4000]}}, ["channels"]),
        ({"lobe_arguments": {"window": -1}}, ["window is -1"]),
        ({"lobe_arguments": {"x" * 10**5: 1}}, ["unknown argument"]),
        ({"front_end_arguments": {"n_fft": 1 << 40}}, ["n_fft", "2048"]),
        ({"name": "x" * 10**5}, ["name is", "at most 64"]),
        ({"name": "/etc/passwd"}, ["/etc/passwd"]),
        ({"lobe": "../ftfnet"}, ["unknown lobe '../ftfnet'"]),
        ({"license": "\x1b]0;owned\x07"}, ["license", "line of text"]),
        ({"info": {"data": "a\r\nb"}}, ["info", "lines of text"]),
        ({"info": {"\x1b[2J": 1}}, ["info"]),
        ({"x" * 10**5: 1}, ["unknown key"]),
        ({"calibration": {"budgets": [1e400], "biases": [0]}}, ["budgets"]),
        ({"sample_rate": [[]] * 10**5}, ["sample_rate is [[], []"]),
    ],
)
def test_values_that_no_model_has(folder, changes, words):
    edit(folder, **changes)
    refused(lambda: load_model(folder), "config.json", *words)


BOUNDED = """
import resource, sys
import speechbrain_dsn
{imports}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
from speechbrain_dsn.errors import InputError
try:
    {call}
except InputError as error:
    print(error)
else:
    print("no error")
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
print(grown)
"""


def in_bounds(call, imports, most, *arguments):
    """Runs a line in a process of its own; its message, if within bounds."""
    code = BOUNDED.format(call=call, imports=imports)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, grown = done.stdout.splitlines()
    assert int(grown) < most, f"{int(grown) >> 20} MiB"
    return "\n".join(lines)


def test_a_network_in_range_that_fits_no_memory(tmp_path):
    """Each number is one that a model may have: together 40 GiB."""
    arguments = {
        "channels": 1024,
        "num_layers": 16,
        "intra_layers": 16,
        "inter_layers": 16,
        "nhead": 1,
        "inter_nhead": 1,
        "intra_ffn": 8192,
        "inter_ffn": 8192,
    }
    config = ModelConfig(
        "huge", "dual_path", arguments, "mixture", kind="separation"
    )
    (tmp_path / "config.json").write_text(config.to_json())
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    line = in_bounds(
        "load_model(sys.argv[1])",
        "from speechbrain_dsn.pretrained import load_model",
        GIB,
        tmp_path,
    )
    assert "more than 100000000 parameters" in line


# -------------------------------------------------------------- safetensors


def header(text, rest=b"\0" * 64):
    text = json.dumps(text).encode() if not isinstance(text, bytes) else text
    return struct.pack("<Q", len(text)) + text + rest


def entry(start, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        header({"a": entry(0, 4), "b": entry(0, 4)}),  # overlap
        header(b'{"a":%s,"a":%s}' % ((json.dumps(entry(0, 4)).encode(),) * 2)),
        header({"a": entry(0, 1 << 60)}),
        header({"a": entry(4, 0)}),
        header({"a": entry(0, 4, [1 << 62, 4])}),
        header({"a": entry(0, 4, [-1])}),
        header({"a": entry(0, 4, [1], "OBJECT")}),
        header({"../../a": entry(0, 4)}, b"\0" * 4),
        header(b"[" * 100_000),
        header(b" " * (2 << 20)),
        struct.pack("<Q", (1 << 64) - 1) + b"{}",
    ],
)
def test_headers_that_lie(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(lambda: load_model(folder), "model.safetensors")


def test_a_sparse_file_of_many_gigabytes_costs_nothing(folder):
    """Its header promises them; what is not of the network is not read."""
    promised = header({"a": entry(0, 40 << 30, [10 << 30])}, b"")
    with open(folder / "model.safetensors", "wb") as file:
        file.write(promised)
        file.truncate(len(promised) + (40 << 30))
    line = in_bounds(
        "load_model(sys.argv[1])",
        "from speechbrain_dsn.pretrained import load_model",
        GIB // 4,
        folder,
    )
    assert "missing tensor" in line or "cannot be read as safetensors" in line


def test_a_tensor_of_the_right_name_and_a_huge_shape(folder):
    expected = load_model(folder).enhancer.state_dict()
    first, *others = sorted(expected)
    tensors, at = {first: entry(0, 8 << 30, [2 << 30])}, 8 << 30
    for name in others:
        shape, size = list(expected[name].shape), 4 * expected[name].numel()
        tensors[name] = entry(at, at + size, shape)
        at += size
    promised = header(tensors, b"")
    with open(folder / "model.safetensors", "wb") as file:
        file.write(promised)
        file.truncate(len(promised) + at)
    refused(lambda: load_model(folder), first, "has shape [2147483648]")


def test_weights_to_start_from_are_checked_too(tmp_path, canary):
    model = tiny_model()
    state = dict(model.enhancer.state_dict())
    path = tmp_path / "start.safetensors"
    static = {n: x for n, x in state.items() if ".policy." not in n}
    path.write_bytes(dump_weights(static))
    warm_start(tiny_model().enhancer, str(path))
    assert read_weights(path, static).keys() == static.keys()
    name = next(iter(static))
    for change, word in (
        ({name: torch.full_like(static[name], torch.nan)}, "NaN"),
        ({name: torch.zeros(3, 3, 3)}, "[3, 3, 3]"),
        ({"evil": torch.zeros(1)}, "unknown tensor evil"),
    ):
        path.write_bytes(dump_weights(static | change))
        refused(lambda: warm_start(model.enhancer, str(path)), word)
    path.write_bytes(pickle.dumps(Bomb(canary)))
    refused(lambda: warm_start(model.enhancer, str(path)), "safetensors")


# --------------------------------------------------------------------- ONNX


@pytest.fixture(scope="module")
def step():
    return build_step(tiny_model())


def changed(step, change):
    copy = onnx.ModelProto()
    copy.CopyFrom(step)
    change(copy)
    return copy.SerializeToString()


def elsewhere(tensor):
    """Points a tensor at a file."""
    for field in ("raw_data", "float_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")


def external_initializer(model):
    elsewhere(model.graph.initializer[0])


def external_constant(model):
    node = model.graph.node.add(op_type="Constant", output=["stolen"])
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "t")
    elsewhere(tensor)
    node.attribute.append(helper.make_attribute("value", tensor))


def external_list(model):
    node = model.graph.node.add(op_type="Constant", output=["stolen"])
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "t")
    elsewhere(tensor)
    node.attribute.append(helper.make_attribute("values", [tensor]))


def external_without_saying_so(model):
    tensor = model.graph.initializer[0]
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_sparse(model):
    values = numpy_helper.from_array(np.zeros(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    elsewhere(values)
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, indices, [4])
    )


def external_branch(model):
    graph = helper.make_graph([], "b", [], [])
    graph.initializer.append(numpy_helper.from_array(np.zeros(4), "t"))
    elsewhere(graph.initializer[0])
    node = model.graph.node.add(op_type="If", input=["x"], output=["y"])
    node.attribute.append(helper.make_attribute("graphs", [graph]))


def function(model):
    node = helper.make_node("Relu", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(
        helper.make_function("", "F", ["x"], ["y"], [node], opsets)
    )


def training(model):
    model.training_info.add()


def endless(model):
    body = helper.make_graph([], "b", [], [])
    node = helper.make_node("Loop", ["", ""], ["z"], body=body)
    model.graph.node.append(node)


def python_operator(model):
    node = helper.make_node(
        "PyOp", ["samples"], ["z"], domain="ai.onnx.contrib"
    )
    model.graph.node.append(node)


def meta(key, value):
    """Another value in the metadata."""

    def change(model):
        (found,) = [p for p in model.metadata_props if p.key == key]
        found.value = value if isinstance(value, str) else json.dumps(value)

    return change


STATE = {"evil": {"shape": [1 << 40], "dtype": "float32"}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_initializer, ["another file"]),
        (external_constant, ["another file"]),
        (external_list, ["another file"]),
        (external_without_saying_so, ["another file"]),
        (external_sparse, ["sparse"]),
        (external_branch, ["another file"]),
        (function, ["functions"]),
        (training, ["training"]),
        (endless, ["Loop"]),
        (python_operator, ["PyOp", "ai.onnx.contrib"]),
        (meta("hop", 1 << 50), ["hop is", "65536"]),
        (meta("hop", -1), ["hop is -1"]),
        (meta("hop", True), ["hop is True"]),
        (meta("delay", 1 << 60), ["delay is"]),
        (meta("sample_rate", 0), ["sample_rate is 0"]),
        (meta("states", STATE), ["states take"]),
        (meta("states", {"a": {"shape": [], "dtype": "f4"}}), ["state 'a'"]),
        (meta("states", {"a": {"shape": [-1], "dtype": "f4"}}), ["state 'a'"]),
        (meta("states", {"a": {"shape": [1.5], "dtype": "f4"}}), ["state 'a'"]),
        (meta("states", {"a": {"shape": [1], "dtype": "O"}}), ["state 'a'"]),
        (meta("in_place", ["samples"]), ["the same in both"]),
        (meta("frame_rate", 1e308), ["frame_rate is 1e+308"]),
        (meta("name", json.dumps("\x1b[2J")), ["name is"]),
        (meta("states", [1]), ["cannot be run"]),
        (meta("hop", "[" * 100_000), ["no metadata"]),
        (meta("name", "!!python/object/apply:os.system [x]"), ["no metadata"]),
        (meta("name", "x" * 10**6), ["no metadata"]),
    ],
)
def test_onnx_files_that_are_refused(
    step, tmp_path, monkeypatch, canary, change, words
):
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    path = tmp_path / "a.onnx"
    path.write_bytes(changed(step, change))
    refused(lambda: OnnxSession.from_file(path), "a.onnx", *words)


def test_pickles_and_pipes_are_no_onnx(tmp_path, canary):
    import os

    path = tmp_path / "a.onnx"
    path.write_bytes(pickle.dumps(Bomb(canary)))
    refused(lambda: OnnxSession.from_file(path), "a.onnx")
    path.unlink()
    os.mkfifo(path)
    refused(lambda: OnnxSession.from_file(path), "no file")


def test_graphs_nested_without_end(step, tmp_path):
    """A refusal, not a crash of the process."""

    def field(number, data):
        size, code = len(data), bytearray([number << 3 | 2])
        while size > 127:
            code.append(size & 127 | 128)
            size >>= 7
        return bytes([*code, size]) + data

    graph = b""
    for _ in range(5000):  # graph, of a node, of an attribute, of a graph
        graph = field(1, field(5, field(6, graph)))
    data = step.SerializeToString() + field(7, graph)
    refused(lambda: OnnxSession(data, "a.onnx"), "a.onnx")


def blown_up(step, elements, constant):
    """The same model, with a value that is as large as one likes."""

    def change(model):
        size = np.array([elements], np.int64)
        model.graph.initializer.append(numpy_helper.from_array(size, "size"))
        nodes = [
            helper.make_node("ConstantOfShape", ["size"], ["big"])
            if constant
            else helper.make_node("Expand", ["start", "size"], ["big"]),
            helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
            helper.make_node("Add", ["samples", "sum"], ["louder"]),
        ]
        if not constant:
            first = np.zeros(1, np.int64)
            model.graph.initializer.append(
                numpy_helper.from_array(first, "zero")
            )
            nodes.insert(
                0, helper.make_node("Gather", ["samples", "zero"], ["row"])
            )
            nodes.insert(
                1,
                helper.make_node("ReduceSum", ["row"], ["start"], keepdims=0),
            )
        for node in model.graph.node:
            node.input[:] = [
                "louder" if x == "samples" else x for x in node.input
            ]
        old = list(model.graph.node)
        model.graph.ClearField("node")
        model.graph.node.extend([*nodes, *old])

    return changed(step, change)


@pytest.mark.parametrize("constant", [True, False])
def test_a_graph_that_asks_for_all_memory(step, tmp_path, constant):
    """20 GB, made while it is optimised or while it runs."""
    small = Stream(OnnxSession(blown_up(step, 4, constant)))
    assert len(small.run(np.zeros(1024, np.float32))) > 0
    path = tmp_path / "a.onnx"
    path.write_bytes(blown_up(step, 5 * 10**9, constant))
    line = in_bounds(
        "Stream(OnnxSession.from_file(sys.argv[1])).run(np.zeros(9999))",
        "import numpy as np\n"
        "from speechbrain_dsn.inference.onnx_session import OnnxSession\n"
        "from speechbrain_dsn.inference.streaming import Stream",
        GIB // 2,
        path,
    )
    assert "the graph failed" in line or "cannot be run" in line


def test_an_output_that_is_larger_than_it_says(step):
    """onnxruntime writes into arrays of ours: never beyond their ends."""

    def change(model):
        (node,) = [n for n in model.graph.node if "enhanced" in n.output]
        node.output[list(node.output).index("enhanced")] = "small"
        model.graph.node.append(
            helper.make_node("Concat", ["small"] * 64, ["enhanced"], axis=1)
        )
        (output,) = [x for x in model.graph.output if x.name == "enhanced"]
        output.type.tensor_type.shape.dim[1].ClearField("dim_value")

    def load_and_run():
        Stream(OnnxSession(changed(step, change))).run(np.zeros(1024))

    refused(load_and_run, "")


def test_the_limits_leave_room_for_what_we_write(step, tmp_path):
    path = export_onnx(tiny_model(), tmp_path / "tiny.onnx")
    assert Stream(OnnxSession.from_file(path)).info.name == "tiny"


# -------------------------------------------------------------- checkpoints


def checkpointer(folder):
    layer = torch.nn.Linear(2, 2)
    return SafeCheckpointer(
        folder,
        {
            "layer": layer,
            "optimizer": torch.optim.Adam(layer.parameters()),
            "random": RandomState(),
        },
    )


@pytest.mark.parametrize("part", ["layer", "optimizer", "random"])
def test_a_pickle_in_a_checkpoint_is_passed_over(
    tmp_path, canary, caplog, part
):
    saver = checkpointer(tmp_path / "save")
    good = saver.save_checkpoint(meta={"unixtime": 1.0})
    bad = saver.save_checkpoint(meta={"unixtime": 2.0})
    torch.save(Bomb(canary), bad.paramfiles[part])
    assert saver.recover_if_possible().path == good.path
    assert "CANNOT BE LOADED" in caplog.text
    bad.paramfiles[part].write_bytes(pickle.dumps(Bomb(canary)))
    assert saver.recover_if_possible().path == good.path


LAUGHS = "l0: &l0 [ha, ha]\n" + "".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30)
)


def test_yaml_in_a_checkpoint_runs_nothing(tmp_path, canary, caplog):
    """Bombs, laughs, depth, rubbish: left out, loudly, for the one before."""
    saver = checkpointer(tmp_path / "save")
    good = saver.save_checkpoint(meta={"unixtime": 1.0})
    bad = saver.save_checkpoint(meta={"unixtime": 2.0})
    texts = [
        *(f"unixtime: 3\n{text}" for text in yaml_bombs(canary).values()),
        "[" * 10_000,
        "unixtime: soon",
        "just words",
        "",
        "\x00",
    ]
    for text in texts:
        caplog.clear()
        (bad.path / "CKPT.yaml").write_text(text)
        assert saver.recover_if_possible().path == good.path, text[:40]
        assert "CANNOT BE READ" in caplog.text
    (bad.path / "CKPT.yaml").write_bytes(b"\xff\xfe\x00")
    assert saver.recover_if_possible().path == good.path
    # 10^29 laughs are few objects as long as nobody counts them.
    end = "unixtime: 3\nend-of-epoch: false\n"
    (bad.path / "CKPT.yaml").write_text(LAUGHS + end)
    assert saver.recover_if_possible().path == bad.path


# ------------------------------------------------------- what else is read


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "3", '[{"label": 1}]', "\x00", "!apply:x"]
)
def test_evaluations_that_are_none(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    refused(lambda: read_evaluations(path), "a.json")


def test_an_archive_that_unpacks_without_end(tmp_path):
    """A few kilobytes of zeros, deflated: refused by what it declares."""
    from speechbrain_dsn.nnet.gru_scheme import OPERATORS, make_scheme
    from speechbrain_dsn.quantization.store import _numbers

    widths = dict.fromkeys(OPERATORS, 8)
    ranges = {name: (-1.0, 1.0) for name in OPERATORS}
    values = _numbers(make_scheme(1, 2, 2, ranges, widths))
    about = {"bits": 8, "shape": [1, 2, 2]}
    values["arrays"] = {"weight_ir": about}
    (tmp_path / "a.json").write_text(json.dumps(values))
    with zipfile.ZipFile(
        tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        with archive.open("weight_ir.npy", "w") as file:
            np.lib.format.write_array(file, np.zeros(1 << 25, np.uint8))
    refused(lambda: load_gru(tmp_path / "a"), "bytes of arrays")
    (tmp_path / "a.json").write_text("[" * 100_000)
    refused(lambda: load_gru(tmp_path / "a"), "no integer GRU")
