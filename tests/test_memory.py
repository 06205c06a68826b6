"""Freed memory: kept where a command runs."""

import platform
import subprocess
import sys

import pytest

GLIBC = platform.libc_ver()[0] == "glibc"
# 80 MB come and go; prints how many pages the kernel had to clear.
PROGRAM = """
import resource, sys
import numpy as np
from speechbrain_dsn.inference.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def maps():
    return [np.ones(5_000_000, np.float32) for _ in range(4)]
maps()
before = faults()
for _ in range(10):
    maps()
print(faults() - before)
"""


@pytest.mark.skipif(not GLIBC, reason="of glibc")
def test_kept_memory_is_not_cleared_again():
    pages = 10 * 80_000_000 // 4096
    found = {
        what: int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, what],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for what in ("keep", "give back")
    }
    assert found["keep"] < 0.01 * pages
    # Huge pages would make them fewer.
    assert found["keep"] < found["give back"]
