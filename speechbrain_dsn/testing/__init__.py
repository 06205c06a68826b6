"""The battery: one call that holds a layer to the contract of all.

:func:`check_dynamic_layer` runs every property that applies to a layer, ours
or a third party's; each is a function of its own that takes a
:class:`Subject`.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.testing.battery import CHECKS, check_dynamic_layer
from speechbrain_dsn.testing.counting import count_macs
from speechbrain_dsn.testing.subject import Subject

__all__ = ["CHECKS", "Subject", "check_dynamic_layer", "count_macs"]
