"""The bundled mini set: synthetic speech, synthetic noise and demo clips.

It is large enough to see a recipe learn and to test on, and too small and too
clean to train a net for use. `recipes/MiniSet` in the repository made it: the
speech is the output of espeak-ng, the noise comes out of random numbers.

Authors
 * The speechbrain_dsn developers 2026
"""

from pathlib import Path

__all__ = ["demo_clips", "miniset_folder"]


def miniset_folder() -> Path:
    """Where the mini set is.

    Returns
    -------
    Path
        A folder with `speech/`, `noise/`, `manifest.csv`, fixed lists
        `enhance_valid.csv` and `enhance_test.csv`, as
        `speechbrain_dsn.dataio.folders.prepare_folders` reads them, and
        `clips/`.

    Example
    -------
    >>> (miniset_folder() / "manifest.csv").is_file()
    True
    """
    return Path(__file__).parent


def demo_clips() -> list[tuple[Path, Path]]:
    """Ready pairs to enhance, of test speakers in test noises: three at
    16 kHz, one at 8 kHz, one in stereo at 48 kHz.

    Returns
    -------
    list of (Path, Path)
        Noisy and clean file; their names agree.

    Example
    -------
    >>> len(demo_clips())
    5
    """
    clips = miniset_folder() / "clips"
    noisy = sorted((clips / "noisy").glob("*.flac"))
    return [(path, clips / "clean" / path.name) for path in noisy]
