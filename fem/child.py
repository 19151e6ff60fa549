"""Run the solver script as a child process, watch it, and say by name what went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.exchange import SCRIPT, tail
from bonekit.fem.interpreters import Interpreter, SolverMissingError, child_environment

Progress = Callable[[int, float], None]

_POLL_S = (0.02, 0.05)  # first and longest time between looks at the child


class SolverCrashError(ConvergenceError):
    """The child process ended by a signal or an error of its own."""


class SolverTimeoutError(ConvergenceError):
    """The child process took longer than allowed and was ended."""


class SolverMemoryError(ConvergenceError):
    """The child process ran out of memory, or was killed as the system did."""


class BrokenMPIError(ConvergenceError):
    """Several processes could not be started."""


class DivergenceError(ConvergenceError):
    """The iteration did not converge.

    Parameters
    ----------
    text : str
    history : tuple of float
        Relative residuals up to the end.
    """

    def __init__(self, text: str, history: tuple[float, ...] = ()) -> None:
        super().__init__(text)
        self.history = history


def run_child(
    folder: Path,
    interpreter: Interpreter,
    processes: int,
    timeout_s: float | None,
    progress: Progress | None,
) -> None:
    """Run the script in a folder of `write_model` until ``result.npz`` is there.

    Raises
    ------
    SolverTimeoutError, SolverCrashError, SolverMemoryError, BrokenMPIError, DivergenceError,
    SolverMissingError, InputError
    """
    command = [interpreter.path, str(folder / SCRIPT), str(folder)]
    if processes > 1:
        command = [interpreter.launcher, "-n", str(processes), *command]
    with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        try:
            child = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=child_environment(),
                start_new_session=True,  # so that it can be ended with its own children
            )
        except OSError as error:
            raise SolverMissingError(f"{command[0]} could not be started: {error}") from error
        try:
            _watch(child, folder, timeout_s, progress)
        finally:
            _end(child)
    if child.returncode != 0 or not (folder / "result.npz").exists():
        raise _diagnosis(folder, child.returncode, processes, interpreter)


def _watch(
    child: subprocess.Popen[bytes], folder: Path, timeout_s: float | None, progress: Progress | None
) -> None:
    start, pause = time.monotonic(), _POLL_S[0]
    lines = _lines(folder / "log.jsonl")
    while child.poll() is None:
        _report(lines, progress)
        if timeout_s is not None and time.monotonic() - start > timeout_s:
            raise SolverTimeoutError(
                f"the solver did not finish within {timeout_s:g} s and was ended "
                f"({_where(folder)}). Allow more with timeout_s, or ask for more processes"
            )
        time.sleep(pause)
        pause = min(1.3 * pause, _POLL_S[1])
    _report(lines, progress)


def _report(lines: Iterator[str], progress: Progress | None) -> None:
    for line in lines:
        if not line:
            return
        fields = json.loads(line)
        if progress is not None and fields.get("iteration"):
            progress(int(fields["iteration"]), float(fields["residual"]))


def _lines(path: Path) -> Iterator[str]:
    """Complete lines of a file as it grows; an empty one where there is none yet."""
    rest, position = "", 0
    while True:
        if path.exists():
            with path.open(encoding="utf-8") as file:
                file.seek(position)
                rest += file.read()
                position = file.tell()
        while "\n" in rest:
            line, rest = rest.split("\n", 1)
            yield line
        yield ""


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started."""
    if child.poll() is None:
        try:
            if os.name == "posix":
                os.killpg(child.pid, signal.SIGTERM)
                child.wait(timeout=3)
            else:
                child.kill()
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        if child.poll() is None:
            if os.name == "posix":
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _diagnosis(folder: Path, status: int, processes: int, interpreter: Interpreter) -> Exception:
    """Error that says what became of the child."""
    try:
        told = json.loads((folder / "failure.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _silent(folder, status, processes, interpreter)
    kind, text, history = told["kind"], str(told["text"]), tuple(told["history"])
    if kind == "diverged":
        course = ", ".join(f"{r:.1e}" for r in history[-5:])
        return DivergenceError(
            f"the conforming engine did not converge: {text}"
            + (f"; last relative residuals of {len(history)}: {course}" if course else "")
            + ". Raise max_iterations or rtol, look for moduli out of proportion and for parts "
            "that hang on others by a node or an edge only",
            history,
        )
    if kind == "memory":
        return SolverMemoryError(f"the solver ran out of memory ({_where(folder)}). {_SMALLER}")
    if kind in ("packages", "processes"):
        return InputError(text)
    last = text.strip().splitlines()[-1]
    return SolverCrashError(f"the solver failed ({_where(folder)}): {last}")


_SMALLER = "Use larger elements, those of four nodes, or a machine with more memory"


def _silent(folder: Path, status: int, processes: int, interpreter: Interpreter) -> Exception:
    """Error of a child that left no word."""
    said = tail(folder / "stderr.txt") or tail(folder / "stdout.txt")
    number = -status if status < 0 else status - 128 if 128 < status < 160 else 0
    where = _where(folder)
    if number in (signal.SIGKILL, signal.SIGTERM):
        return SolverMemoryError(
            f"the solver was killed ({where}, signal {number}): by hand, or by the system as "
            f"memory ran out. {_SMALLER}"
        )
    if processes > 1 and not (folder / "log.jsonl").exists():
        return BrokenMPIError(
            f"{interpreter.mpi} did not start {processes} processes ({interpreter.launcher}, "
            f"status {status}): {said}. Ask for processes=1, which needs no launcher"
        )
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return SolverCrashError(f"the solver crashed ({where}, {name}): {said}")
    return SolverCrashError(f"the solver ended with status {status} ({where}): {said}")


def _where(folder: Path) -> str:
    """Last stage the child began."""
    text = tail(folder / "log.jsonl", 50)
    begun = [line for line in text.splitlines() if line.startswith('{"begin"')]
    return f"in the stage {json.loads(begun[-1])['begin']!r}" if begun else "before it began"
