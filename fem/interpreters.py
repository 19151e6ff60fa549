"""Python interpreters that have dolfinx: Debian's, conda's, or the one that runs bonekit.

dolfinx is not on PyPI, and its packages ask for other versions of NumPy than bonekit does, so it
lives in an interpreter of its own, which solves as a child process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bonekit.errors import InputError

VARIABLE = "BONEKIT_DOLFINX_PYTHON"  # names an interpreter that is not found by itself
INSTALL = (
    "On Debian and Ubuntu: apt-get install python3-dolfinx-real libopenblas0-pthread "
    "mpi-default-bin; elsewhere: conda create -n dolfinx -c conda-forge fenics-dolfinx. An "
    f"interpreter in an unusual place is named by the environment variable {VARIABLE}"
)
_TIMEOUT_S = 60.0
_PROBE = """
import importlib.util, json
if importlib.util.find_spec("dolfinx") is None:
    print(json.dumps(None))
else:
    import dolfinx, dolfinx.fem
    from mpi4py import MPI
    name, version = MPI.get_vendor()
    mpi = name + " " + ".".join(map(str, version))
    found = {"dolfinx": dolfinx.__version__, "petsc": "", "mpi": mpi}
    try:
        from petsc4py import PETSc
        found["petsc"] = ".".join(map(str, PETSc.Sys.getVersion()))
    except ImportError:
        pass
    print(json.dumps(found))
"""


class SolverMissingError(InputError):
    """No interpreter was found that has dolfinx, or its dolfinx doesn't work."""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter whose dolfinx works.

    Parameters
    ----------
    path : str
    dolfinx : str
        Its version.
    petsc : str
        Version of PETSc; empty if dolfinx came without it.
    mpi : str
        Name and version of the MPI library.
    """

    path: str
    dolfinx: str
    petsc: str
    mpi: str

    def __str__(self) -> str:
        return f"dolfinx {self.dolfinx}, PETSc {self.petsc or 'absent'}, {self.mpi}"

    @property
    def launcher(self) -> str:
        """Program that starts several processes: the one beside the interpreter, or on PATH.

        Raises
        ------
        InputError
            If there is none.
        """
        beside = str(Path(self.path).parent)
        for folder in (beside, None):
            for name in ("mpiexec", "mpirun"):
                if found := shutil.which(name, path=folder):
                    return found
        raise InputError(
            f"neither mpiexec nor mpirun was found beside {self.path} or on PATH: ask for "
            "processes=1, or install the package mpi-default-bin (Debian) or mpi (conda)"
        )


def find_interpreters() -> tuple[Interpreter, ...]:
    """Interpreters that have a working dolfinx, those named by the user first.

    Looked at are the one named by ``BONEKIT_DOLFINX_PYTHON``, which is then the only one, or the
    one that runs bonekit, those on PATH and in ``/usr/bin``, and those of all conda environments.
    What was found is remembered.
    """
    return _search(candidates())[0]


def choose(path: str | Path | None = None) -> Interpreter:
    """Return the first interpreter found, or the one of a path.

    Raises
    ------
    SolverMissingError
        If it has no dolfinx, or one that doesn't work; the text tells how to get one.
    """
    found, broken = _search((str(path),) if path else candidates())
    if found:
        return found[0]
    what = f"{path} has no dolfinx" if path else "no interpreter with dolfinx was found"
    if broken:
        what = "dolfinx is there but does not work: " + "; ".join(broken)
    raise SolverMissingError(
        f"the conforming engine needs dolfinx, and {what}. {INSTALL}. The voxel engine needs none"
    )


def candidates() -> tuple[str, ...]:
    """Paths of interpreters to be asked."""
    if named := os.environ.get(VARIABLE):
        return (named,)
    paths = [sys.executable, *(shutil.which(name) or "" for name in ("python3", "python"))]
    paths += ["/usr/bin/python3", "/dolfinx-env/bin/python3"]  # Debian; the container image
    paths += [str(_python_of(Path(prefix))) for prefix in _conda_prefixes()]
    return tuple(dict.fromkeys(path for path in paths if path and Path(path).exists()))


def child_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables of the child process.

    Without what makes Python look for the parent's packages, with one thread per process unless
    asked otherwise, and with what MPI needs on a small machine and in a container: more processes
    than cores, no binding (several solves at a time would share one core), and root.
    """
    kept = dict(os.environ if base is None else base)
    for name in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__"):
        kept.pop(name, None)
    settings = {
        "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "OMPI_MCA_mpi_yield_when_idle": "1",  # beside other work, waiting by spinning takes ages
        "OMPI_MCA_ess_singleton_isolated": "1",  # one process needs no daemon beside it: 0.1 s
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_orte_abort_print_stack": "0",
    }
    return settings | kept


def _conda_prefixes() -> list[str]:
    known = Path.home() / ".conda" / "environments.txt"
    try:
        listed = known.read_text(encoding="utf-8").split("\n")
    except OSError:
        listed = []
    return [p for p in (os.environ.get("CONDA_PREFIX", ""), *listed) if p.strip()]


def _python_of(prefix: Path) -> Path:
    return prefix / ("python.exe" if os.name == "nt" else "bin/python3")


@lru_cache(maxsize=8)
def _search(paths: tuple[str, ...]) -> tuple[tuple[Interpreter, ...], tuple[str, ...]]:
    """Those that work, and for those that have dolfinx but fail what they say."""
    found, broken = list[Interpreter](), list[str]()
    for path in paths:
        answer = _probe(path)
        if isinstance(answer, Interpreter):
            found.append(answer)
        elif answer:
            broken.append(f"{path}: {answer}")
    return tuple(found), tuple(broken)


def _probe(path: str) -> Interpreter | str:
    """Ask an interpreter; return why not, empty if it simply has no dolfinx."""
    try:
        done = subprocess.run(
            [path, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=child_environment(),
        )
    except OSError as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S:g} s; is its MPI working?"
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return f"ended with status {done.returncode}: {last}"
    facts = json.loads(lines[-1])
    return Interpreter(path, **facts) if facts else ""
