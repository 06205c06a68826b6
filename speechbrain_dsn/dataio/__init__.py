"""Audio files: reading, writing, collecting and resampling."""
