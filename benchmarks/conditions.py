"""On what the figures were taken."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "numba", "llvmlite", "scikit-learn", "torch", "onnx", "onnxruntime", "jax", "keras", "skorch",
)  # fmt: skip

DEVICE_PACKAGES = (
    "numpy", "numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "scikit-learn", "torch", "triton", "jax",
    "jaxlib", "jax-cuda13-plugin", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cuda-nvrtc",
)  # fmt: skip


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def conditions() -> dict[str, Any]:
    import skrnn
    from benchmarks import ours

    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "vector_bits": ours.vector_bits(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "skrnn": skrnn.__version__,
        "versions": versions(),
        "unset": ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"],
    }


def device_conditions() -> dict[str, Any]:
    """The GPU that is used first, and what lies between it and us."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as problem:
        driver = f"not known ({type(problem).__name__})"
    return {
        "device": properties["name"].decode(),
        "memory_bytes": properties["totalGlobalMem"],
        "multiprocessors": properties["multiProcessorCount"],
        "driver": driver,
        "cuda": {
            "driver": cupy.cuda.runtime.driverGetVersion(),
            "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        },
        "cudnn": torch_cudnn(),
    }


def torch_cudnn() -> str:
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    return str(torch.backends.cudnn.version())
