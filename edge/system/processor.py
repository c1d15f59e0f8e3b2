"""What this machine's processor computes 8-bit products with."""

from __future__ import annotations

import platform
from enum import StrEnum
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")


class Int8Kernel(StrEnum):
    """The instructions that ONNX Runtime multiplies 8-bit numbers with, named as in a message."""

    VNNI = "x86-64 with VNNI"
    AVX2 = "x86-64 with AVX2, without VNNI"
    DOT_PRODUCT = "arm64 with dot products"
    NONE = "no fast 8-bit products"


def int8_kernel(machine: str | None = None, cpu_info: Path = CPU_INFO) -> Int8Kernel:
    """Return the kernel for 8-bit products on ``machine`` (default: this one), from the flags in ``/proc/cpuinfo``."""
    machine = machine or platform.machine()
    try:
        lines = cpu_info.read_text(errors="replace").splitlines()
    except OSError:
        return Int8Kernel.NONE
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.partition(":")[2].split()}
    if machine in {"x86_64", "AMD64"}:
        if flags & {"avx512_vnni", "avx_vnni"}:
            return Int8Kernel.VNNI
        return Int8Kernel.AVX2 if "avx2" in flags else Int8Kernel.NONE
    return Int8Kernel.DOT_PRODUCT if machine in {"aarch64", "arm64"} and "asimddp" in flags else Int8Kernel.NONE
