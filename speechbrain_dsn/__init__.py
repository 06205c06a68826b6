"""Dynamic speech networks for SpeechBrain: compute spent where it is needed.

Importing this package imports neither torch nor SpeechBrain. It only makes
sure that a later ``import speechbrain`` survives a torchaudio wheel that does
not fit the installed torch; see `speechbrain_dsn.compat`.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.compat import install_torchaudio_guard

__version__ = "0.1.0"

install_torchaudio_guard()
