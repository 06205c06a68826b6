"""Packaging of speechbrain_dsn; tool settings live in pyproject.toml.

Requirements are loose on purpose: an upper bound on torch would make pip
replace a working CPU build. The tested versions are in constraints.txt.
"""

import platform
import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "speechbrain_dsn" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

# speechmos is there for its .onnx files (DNSMOS) only; it is never imported.
EXTRAS = {
    "metrics": ["pystoi", "speechmos", "onnxruntime"],
    "onnx": ["onnx", "onnxruntime", "onnxscript"],
    "plots": ["matplotlib"],
    "search": ["pymoo"],
    "shards": ["webdataset"],
    "mic": ["sounddevice"],
}
EVERYTHING = sorted({name for names in EXTRAS.values() for name in names})
TEST_TOOLS = [
    "pytest",
    "pytest-cov",
    "pytest-xdist",
    "hypothesis",
    "ruff==0.12.4",
    "setuptools",
]
DOC_TOOLS = [
    "sphinx",
    "sphinx_rtd_theme",
    "myst-parser",
    "nbclient",
    "nbformat",
    "ipykernel",
]
README = ROOT / "README.md"
X86 = platform.machine().lower() in ("x86_64", "amd64")
NATIVE = Path("speechbrain_dsn/native")
# Without a compiler the package is as complete, and slower.
KERNELS = Extension(
    "speechbrain_dsn.native._kernels",
    sorted(map(str, NATIVE.glob("*.c"))),
    depends=sorted(map(str, NATIVE.glob("*.h"))),
    extra_compile_args=["-std=gnu11", "-O3", *["-mavx2", "-mfma"] * X86],
    optional=True,
)

setup(
    name="speechbrain-dsn",
    version=VERSION,
    description="Dynamic speech networks for SpeechBrain",
    long_description=README.read_text("utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The speechbrain_dsn developers",
    license="Apache-2.0",
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
    ],
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["speechbrain_dsn", "speechbrain_dsn.*"]),
        "speechbrain_dsn.hparams",
    ],
    ext_modules=[KERNELS],
    # The YAML fragments live at the top of the repository, as SpeechBrain
    # users expect them, and travel inside the package.
    package_dir={"speechbrain_dsn.hparams": "hparams"},
    package_data={
        "speechbrain_dsn": [
            "pretrained/**/*",
            "miniset/**/*",
            "quantization/*.c",
            "report/page.*",
        ],
        "speechbrain_dsn.hparams": ["**/*"],
    },
    install_requires=[
        "speechbrain>=1.1.2",
        "torch",
        "torchaudio",
        "hyperpyyaml",
        "numpy",
        "pesq",
        "soundfile",
        "safetensors",
        "tqdm",
    ],
    extras_require={
        **EXTRAS,
        "all": EVERYTHING,
        "test": [*EVERYTHING, *TEST_TOOLS],
        # The notebook scores and draws what it trains.
        "docs": [*EXTRAS["metrics"], *EXTRAS["plots"], *DOC_TOOLS],
    },
    entry_points={
        "console_scripts": ["speechbrain-dsn = speechbrain_dsn.cli.main:main"]
    },
)
