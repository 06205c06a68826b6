"""Signal processing that streams.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.processing.stft import STFT

__all__ = ["STFT"]
