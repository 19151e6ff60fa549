"""What the child process of the conforming engine is given and gives back: two ``.npz`` files.

``model.npz``: `nodes` (n, 3) and `cells` (m, k) in VTK order, `E_MPa` and `nu` (m,), `fixed`
(n, 3) bool and `fixed_mm`, `force_N`, `spring_N_mm` (n, 3), `cap` (n,: number of a node's cap or
-1), `cap_pivot_mm` (c, 3), `cap_fixed` bool, `cap_given` and `cap_load` (c, 2, 3: of translations
and rotations), `rtol`, `max_iterations`, `method`, `options` (JSON, for PETSc), `sha256`; for a
nonlinear solve `factors`, `bbar`, `law` (JSON: module, name, numbers, arrays) and its arrays
`law_*`.

``result.npz``: `displacement_mm` and `internal_N` (n, 3: of stresses and springs), `cap_motion`
(c, 6), `residual`, `iterations`, `history`, `points` and `weights` of the quadrature, `peak_MB`,
`seconds` (JSON), `sha256` of the model; of a nonlinear solve `factors`, `newton`, `work_Nmm` of
each step and `point_*` (m, q, ...). Neither holds a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.generic]]
SCRIPT = "solver/solve.py"
_START = """import sys
from pathlib import Path
from typing import Any

from bonekit.fem.dolfinx_solver import main

sys.exit(main(Path(sys.argv[1])))
"""
# Modules of material laws, which import NumPy only.
LAWS = ("plastic_laws", "strain_yield_law", "damage_law", "elastic_law")
_SENT = (
    *(f"dolfinx_{part}" for part in ("solver", "log", "compat", "body", "linear", "elastic")),
    *(f"dolfinx_{part}" for part in ("bbar", "caps", "newton", "points")),
    *("constitutive", "constitutive_spectral"),
    *LAWS,
)


@dataclass(frozen=True, eq=False)
class RawResult:
    """What the child process found.

    Parameters
    ----------
    displacement_mm, internal_N : ndarray of float, (n_nodes, 3)
    cap_motion : ndarray of float, (n_caps, 2, 3)
    residual : float
    iterations : int
    history : tuple of float
    points, weights : ndarray of float, (q, 3) and (q,)
    peak_MB : float
    seconds : dict of str to float
        By stage.
    """

    displacement_mm: Float
    internal_N: Float
    cap_motion: Float
    residual: float
    iterations: int
    history: tuple[float, ...]
    points: Float
    weights: Float
    peak_MB: float
    seconds: dict[str, float]


def write_model(folder: Path, arrays: Arrays) -> str:
    """Write a model and the solver's script to a folder; return the model's fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = fingerprint(arrays)
    part = folder / "model.part"
    with part.open("wb") as file:
        np.savez(file, **arrays, sha256=np.array(digest))  # type: ignore[arg-type]
    part.replace(folder / "model.npz")
    _write_solver(folder / SCRIPT)
    return digest


def _write_solver(script: Path) -> None:
    """Copy the solver's modules: its interpreter has no bonekit, whose folder would hide others.

    They come as text, as this package may lie in an archive.
    """
    package = script.parent / "bonekit"
    (package / "fem").mkdir(parents=True, exist_ok=True)
    script.write_text(_START, encoding="utf-8")
    for folder in (package, package / "fem"):
        (folder / "__init__.py").write_text("", encoding="utf-8")
    sources = {f"fem/{name}.py": files("bonekit.fem") / f"{name}.py" for name in _SENT}
    for place, source in {**sources, "errors.py": files("bonekit") / "errors.py"}.items():
        (package / place).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


def fingerprint(arrays: Arrays) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def read_result(folder: Path, digest: str) -> RawResult | None:
    """Read the result of the model with a fingerprint; None if there is none or another model's."""
    found = read_arrays(folder / "result.npz")
    if found is None or str(found.get("sha256")) != digest:
        return None
    return RawResult(
        found["displacement_mm"],
        found["internal_N"],
        found["cap_motion"].reshape(-1, 2, 3),
        float(found["residual"]),
        int(found["iterations"]),
        tuple(float(r) for r in found["history"]),
        found["points"],
        found["weights"],
        float(found["peak_MB"]),
        json.loads(str(found["seconds"])),
    )


def read_arrays(path: Path) -> dict[str, Any] | None:
    """Read what the child wrote; None if it is not there or not whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def clear(folder: Path) -> None:
    """Remove what an earlier child wrote, but for its result."""
    for name in ("failure.json", "log.jsonl", "stdout.txt", "stderr.txt"):
        (folder / name).unlink(missing_ok=True)


def tail(path: Path, lines: int = 6) -> str:
    """Last lines of a text file, empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
