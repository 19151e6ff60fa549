"""What the child process of `bonekit.fem.conforming` tells: log, failures, results."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class Failure(Exception):  # noqa: N818
    """A failure that is understood: its kind, what to say, and the residuals so far."""

    def __init__(self, kind: str, text: str, history: list[float] | None = None) -> None:
        super().__init__(text)
        self.kind, self.text, self.history = kind, text, history or []


class Log:
    """Lines of ``log.jsonl``, written by the first process."""

    def __init__(self, folder: Path, comm: Any) -> None:
        self.comm, self.seconds = comm, dict[str, float]()
        self.file = (folder / "log.jsonl").open("w") if comm.rank == 0 else None

    def write(self, **fields: Any) -> None:
        """Write a line at once, so that a crash loses none."""
        if self.file is not None:
            self.file.write(json.dumps(fields) + "\n")
            self.file.flush()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self.write(begin=name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self.write(stage=name, s=round(self.seconds[name], 3))


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Write beside and move: a crash leaves what was there before."""
    with path.with_suffix(".part").open("wb") as file:
        np.savez(file, **arrays)
    path.with_suffix(".part").replace(path)
