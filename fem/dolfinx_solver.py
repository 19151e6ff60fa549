"""The child process of `bonekit.fem.conforming`: reads a model, solves it by dolfinx, writes it.

Runs in an interpreter that has dolfinx (0.5 to 0.11), numpy and either petsc4py or SciPy. bonekit
needs not be installed there: `bonekit.fem.exchange` copies the modules ``dolfinx_*`` and the
material laws, which import nothing else of it, beside the model.

    python3 solve.py folder
    mpirun -n 2 python3 solve.py folder

reads ``folder/model.npz`` and writes ``folder/result.npz``, at once and complete; ``log.jsonl``
grows a line per stage and iteration. What goes wrong on purpose is told in ``failure.json`` and by
exit status 3. `bonekit.fem.exchange` describes the arrays.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from bonekit.fem.dolfinx_body import Body, quadrature_rule
from bonekit.fem.dolfinx_compat import petsc, version
from bonekit.fem.dolfinx_elastic import Elastic, gathered, solve_linear
from bonekit.fem.dolfinx_log import Failure, Log, write
from bonekit.fem.dolfinx_newton import solve_newton
from bonekit.fem.dolfinx_points import Nonlinear


def run(folder: Path, comm: Any, log: Log) -> None:
    """Solve the model in a folder."""
    with log.stage("read"), np.load(folder / "model.npz", allow_pickle=False) as file:
        model = {name: file[name] for name in file.files}
    with log.stage("mesh"):
        body = Body(comm, model)
    with log.stage("forms"):
        problem = Nonlinear(body, model) if "law" in model else Elastic(body, model)
    if isinstance(problem, Nonlinear):
        numbers = solve_newton(problem, model, log, folder)
        numbers |= problem.point_fields(len(model["cells"])) or {}
    else:
        numbers = solve_linear(problem, model, log)
    with log.stage("gather"):
        fields = gathered(problem, model)
        peak = peak_memory(comm)
    if fields is not None:
        facts = {"sha256": model["sha256"], "peak_MB": peak, "seconds": json.dumps(log.seconds)}
        write(folder / "result.npz", {**fields, **numbers, **quadrature_rule(body), **facts})


def main(folder: Path) -> int:
    """Run, and tell a failure in ``failure.json``."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    log = Log(folder, comm)
    try:
        with log.stage("import"):
            log.write(dolfinx=version(), petsc=petsc() is not None, processes=comm.size)
        run(folder, comm, log)
    except Failure as failure:  # on all processes alike
        told = {"kind": failure.kind, "text": failure.text, "history": failure.history}
        if comm.rank == 0:
            (folder / "failure.json").write_text(json.dumps(told))
        return 3
    except BaseException as error:
        memory = isinstance(error, MemoryError) or getattr(error, "ierr", 0) == 55
        told = {"kind": "memory" if memory else "error", "text": traceback.format_exc()}
        (folder / "failure.json").write_text(json.dumps({**told, "history": []}))
        if comm.size > 1:
            comm.Abort(3)  # the others wait for this one
        return 3
    return 0


def peak_memory(comm: Any) -> float:
    """Return the peak in MB of all processes together; 0 where the system does not tell."""
    return float(comm.allreduce(own_peak_memory()))


def own_peak_memory() -> float:
    """Peak in MB of this process; 0 where the system does not tell."""
    status = Path("/proc/self/status")  # getrusage's counts the parent's until the start as well
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next((float(line[1]) / 2**10 for line in lines if line[0] == "VmHWM:"), 0.0)
    try:
        import resource
    except ImportError:
        return 0.0
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
