"""Put the torchaudio guard up before any test imports SpeechBrain."""

import speechbrain_dsn  # noqa: F401
