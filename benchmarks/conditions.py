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


STATE = {  # what nvidia-smi calls it, and we
    "clocks.sm": "clock",  # MHz
    "clocks.max.sm": "highest_clock",
    "power.draw": "watts",
    "temperature.gpu": "degrees",
}
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # the second before driver 535
HELD_BACK = {  # bits of nvmlClocksEventReasons that hold a clock back while there is work
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat, by software",
    0x40: "heat, by hardware",
    0x80: "power brake",
}


def nvidia_smi(fields: Iterable[str], bus: str | None = None) -> list[str]:
    """The values of a GPU, by its address on the bus.

    Raises
    ------
    OSError, subprocess.SubprocessError
        Where there is no nvidia-smi, or it knows no such field.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    command += ["-i", bus] if bus else []
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return [value.strip() for value in ran.stdout.splitlines()[0].split(",")]


def device_bus() -> str:
    """The address of the GPU that is used: nvidia-smi counts in an order of its own."""
    import cupy

    return cupy.cuda.runtime.deviceGetPCIBusId(0)


def device_state(bus: str | None = None) -> dict[str, Any] | None:
    """Clock, power and temperature of the GPU now, and what holds the clock back; None if not known."""
    for reasons in REASONS:
        try:
            *values, active = nvidia_smi((*STATE, reasons), bus)
            found: dict[str, Any] = {name: number(value) for name, value in zip(STATE.values(), values)}
            bits = int(active, 16)
        except (OSError, subprocess.SubprocessError, IndexError, ValueError):
            continue
        return found | {"held_back": [reason for bit, reason in HELD_BACK.items() if bits & bit]}
    return None


def number(text: str) -> float | None:
    """None for what a GPU does not tell, as [N/A]."""
    try:
        return float(text)
    except ValueError:
        return None


def device_conditions() -> dict[str, Any]:
    """The GPU that is used first, and what lies between it and us."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    try:
        values = nvidia_smi(("driver_version", "power.limit", "clocks.max.sm"), device_bus())
        driver = "{}, {} W, {} MHz".format(*values)
    except (OSError, subprocess.SubprocessError, IndexError) as problem:
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
