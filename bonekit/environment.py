"""What this machine offers: versions, devices, solvers."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from typing import Any

import bonekit

LIBRARIES = ("numpy", "SimpleITK", "pyvista", "mmgpy", "torch", "monai", "highdicom")


def environment() -> dict[str, Any]:
    """Versions of bonekit and its libraries, and the solvers found."""
    return {
        "bonekit": bonekit.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: _version(name) for name in LIBRARIES},
        "cuda": _cuda(),
        "dolfinx": _dolfinx(),
        "calculix": shutil.which("ccx") or "not found",
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cuda() -> str:
    """Driver's own tool rather than torch, which takes seconds to import."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "not found"
    answer = _ask([tool, "--query-gpu=name", "--format=csv,noheader"])
    return answer or "not found"


def _dolfinx() -> dict[str, str] | str:
    """Tell what each interpreter that has dolfinx offers: it lives in one of its own."""
    from bonekit.fem.interpreters import find_interpreters

    found = {interpreter.path: str(interpreter) for interpreter in find_interpreters()}
    return found or "not found (the conforming engine needs it; the voxel engine does not)"


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
