"""The battery: one call that holds a layer to the contract of all.

:func:`check_dynamic_layer` runs every property that applies to a layer, ours
or a third party's; each is a function of its own that takes a
:class:`Subject`.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.testing.battery import CHECKS, check_dynamic_layer
from speechbrain_dsn.testing.causality import (
    check_causality,
    check_items_are_separate,
    check_padding,
)
from speechbrain_dsn.testing.counting import count_macs
from speechbrain_dsn.testing.equality import (
    check_closed_is_static,
    check_decides_alike,
    check_open_is_dense,
    check_skipping_is_masked,
    check_slices_are_copies,
    check_streaming_is_masked,
)
from speechbrain_dsn.testing.executed import (
    check_macs_are_executed,
    check_macs_are_linear_in_time,
    check_macs_are_monotone,
)
from speechbrain_dsn.testing.gradients import (
    check_closed_is_untouched,
    check_every_parameter_learns,
    check_gradients,
    check_training_repeats,
)
from speechbrain_dsn.testing.lifecycle import (
    check_bfloat16,
    check_copies,
    check_extremes,
    check_reset_parameters,
    check_state_dict,
    check_wrong_weights_are_named,
)
from speechbrain_dsn.testing.state import (
    check_context_is_the_state,
    check_empty_chunks,
    check_eval_is_deterministic,
    check_nan_leaves_no_trace,
    check_running_changes_nothing,
    check_streams_are_separate,
)
from speechbrain_dsn.testing.subject import Subject

__all__ = [
    "CHECKS",
    "Subject",
    "check_bfloat16",
    "check_causality",
    "check_closed_is_static",
    "check_closed_is_untouched",
    "check_context_is_the_state",
    "check_copies",
    "check_decides_alike",
    "check_dynamic_layer",
    "check_empty_chunks",
    "check_eval_is_deterministic",
    "check_every_parameter_learns",
    "check_extremes",
    "check_gradients",
    "check_items_are_separate",
    "check_macs_are_executed",
    "check_macs_are_linear_in_time",
    "check_macs_are_monotone",
    "check_nan_leaves_no_trace",
    "check_open_is_dense",
    "check_padding",
    "check_reset_parameters",
    "check_running_changes_nothing",
    "check_skipping_is_masked",
    "check_slices_are_copies",
    "check_state_dict",
    "check_streaming_is_masked",
    "check_streams_are_separate",
    "check_training_repeats",
    "check_wrong_weights_are_named",
    "count_macs",
]
