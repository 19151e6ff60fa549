"""Will a model fit? What the voxel engine needs, and what is there."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from bonekit.errors import InputError

# Peaks of `benchmarks/solver.py` beside imports and input, raised: 123 MB of 0.17 million nodes
# (femur), 235 of 0.33 (trab1240), 394 of 0.81 and 2984 of 9.6 (random bone), 234 of 0.44 (a full
# cube) are 1.3 to 1.9 times less than this. Fields and hierarchy go with the nodes, tables with the
# elements too.
_ALWAYS = 100e6
_PER_NODE = 450.0
_PER_ELEMENT = 150.0


def needed_bytes(n_nodes: int, n_elements: int) -> float:
    """Estimate the memory of a linear solve, beside what the process holds already."""
    return _ALWAYS + _PER_NODE * n_nodes + _PER_ELEMENT * n_elements


def available_bytes(device: str) -> float | None:
    """Memory that is free on a device; None where it cannot be known."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    info = Path("/proc/meminfo")
    if device != "cpu" or not info.exists():
        return None
    for line in info.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * float(line.split()[1])
    return None


def return_freed() -> None:
    """Give back to the system what was freed, which the C library keeps: half of a set-up."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    """Find the function of the GNU C library that does so; None where there is another."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def check_memory(n_nodes: int, n_elements: int, spacing_mm: ArrayLike, device: str) -> None:
    """Refuse a model that will not fit, before anything is spent on it.

    Raises
    ------
    InputError
        It says what is needed, what there is, and the edge of bricks that would fit.
    """
    needed, there = needed_bytes(n_nodes, n_elements), available_bytes(device)
    if there is None or needed <= there:
        return
    asked = (
        f"{n_elements:,} elements need about {needed / 1e9:.2f} GB and {there / 1e9:.2f} GB are "
        f"available on {device}: "
    )
    if there <= _ALWAYS:
        raise InputError(f"{asked}free some memory, any solve takes {_ALWAYS / 1e9:.1f} GB")
    edge = float(np.max(np.asarray(spacing_mm, dtype=np.float64)))
    fits = np.ceil(100 * edge * ((needed - _ALWAYS) / (there - _ALWAYS)) ** (1 / 3)) / 100
    raise InputError(f"{asked}bricks of {fits:.2f} mm instead of {edge:.2f} mm would fit")
