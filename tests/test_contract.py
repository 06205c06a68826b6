"""Every layer, lobe and shipped model holds the contract of all.

One table: what is exported and not in it fails a test. The checks are those
of `speechbrain_dsn.testing`; docs/battery.md lists them.
"""

import importlib
import inspect
import pkgutil

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from subjects import ABILITIES
from subjects_layers import LAYERS
from subjects_lobes import LOBES, SHIPPED
from torch import nn

import speechbrain_dsn
from speechbrain_dsn.pretrained.table import FRONT_ENDS
from speechbrain_dsn.pretrained.table import LOBES as NETS
from speechbrain_dsn.testing import Subject, check_dynamic_layer

TABLE = LAYERS | LOBES
# Classes that have no row of their own, and why.
INSIDE = {
    "DenseStage": "of NsNet2, which tells it who reaches it",
    "DynamicConv": "base of DynamicConv2d and DynamicConvTranspose2d",
    "Enhancer": "base of SpectralEnhancer and WaveformEnhancer",
    "GroupedGRU": "base of FrequencyGRU and TimeGRU",
    "MaskLobe": "base of the masks",
    "RecurrentStage": "of NsNet2, which tells it who reaches it",
    "SelfAttention": "base of FrequencyAttention and TimeAttention",
    "SlimmableBlock": "base of SlimmableEncoder and SlimmableDecoder",
    "SlimmableTransformerLayer": "of SlimmableTransformer",
}


@pytest.mark.parametrize("name", TABLE)
def test_holds_the_contract(name):
    row = TABLE[name]

    # A failure names its layer and property; a smaller one would say no more.
    @settings(
        max_examples=row.examples, phases=[Phase.explicit, Phase.generate]
    )
    @given(values=st.fixed_dictionaries(row.draws), seed=st.integers(0, 9))
    def run(values, seed):
        options = row.make(**values)
        known = {"expected_failures", "seed"}
        subject = {k: v for k, v in options.items() if k not in known}
        subject = Subject(**subject)
        can = {ability for ability in ABILITIES if getattr(subject, ability)}
        expected = set(row.can.split())
        if not values.get("causal", True):
            expected.discard("streams")
        assert can == expected
        check_dynamic_layer(**options, seed=seed)

    for case in row.cases:
        run = example(values=case, seed=0)(run)
    run()


def exported():
    """Modules that the package defines, by class."""
    for room in ("nnet", "gating", "lobes", "convert"):
        package = importlib.import_module(f"{speechbrain_dsn.__name__}.{room}")
        prefix = f"{package.__name__}."
        for module in pkgutil.walk_packages(package.__path__, prefix):
            for name, value in vars(
                importlib.import_module(module.name)
            ).items():
                own = getattr(value, "__module__", None) == module.name
                if own and inspect.isclass(value) and name[0] != "_":
                    if issubclass(value, nn.Module):
                        yield value


def test_every_layer_is_in_the_table():
    covered = {kind for row in TABLE.values() for kind in row.covers}
    missing = {kind.__name__ for kind in exported() if kind not in covered}
    assert missing == set(INSIDE)


def test_every_lobe_and_shipped_model_is_in_the_table():
    rows = {f"lobe {name}" for name in NETS}
    rows |= {f"shipped {name}" for name in SHIPPED}
    assert {name for name in TABLE if " " in name} == rows
    covered = {kind for row in TABLE.values() for kind in row.covers}
    assert {entry.build for entry in FRONT_ENDS.values()} <= covered
