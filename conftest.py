"""What has to be in place before any test is collected."""

import sys

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import speechbrain  # noqa: F401
from speechbrain.utils.importutils import LazyModule

# SpeechBrain leaves redirections of moved modules in sys.modules; whoever asks
# one for its file, as hypothesis does, imports it and fails where it is about
# a package that is not installed. With a file of None they are passed over.
for module in list(sys.modules.values()):
    if isinstance(module, LazyModule):
        vars(module).setdefault("__file__", None)
