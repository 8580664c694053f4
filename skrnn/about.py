"""`show_versions`: what a report of a problem has to say about the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "skrnn", "numpy", "scipy", "numba", "llvmlite", "scikit-learn", "pandas", "joblib", "tqdm", "matplotlib",
    "utilsforecast", "numba-cuda",
)  # fmt: skip


def show_versions() -> None:
    """Print what a report of a problem needs: versions, processors, their vector units as the compiler sees
    them, and where compiled kernels are kept.

    Returns
    -------
    None

    Examples
    --------
    >>> import skrnn
    >>> skrnn.show_versions()  # doctest: +ELLIPSIS
    Python ...
    """
    from .backends import disk
    from .backends.cpu import simd

    print(f"Python {platform.python_version()}, {platform.platform()}")
    print(f"{os.cpu_count()} processors, vectors of {8 * simd.machine().vector_bytes} bits")
    print(f"kernels in {next(iter(disk.places(simd.__name__)), 'no place')}")
    for name in PACKAGES:
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} not installed")
