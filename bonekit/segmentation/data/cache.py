"""Prepared subjects on disk, so that training reads each file once.

An entry is a folder of arrays, mapped into memory when it is read. It carries in its name what
it was made from (files by path, size and time, channels, labels, spacing, statistics); the cache
may be deleted at any time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from bonekit.errors import InputError
from bonekit.image import Grid
from bonekit.segmentation.data.prepare import Prepared, prepare
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

VERSION = 1  # of what `prepare` gives: raised when it changes


def cached(subject: Subject, task: Task, plan: Plan, folder: str | Path) -> Prepared:
    """Prepare a subject, or map what was prepared before.

    Parameters
    ----------
    subject, task, plan
        As for `prepare`.
    folder : str or Path
        Of the cache; made if it does not exist. Several processes may share it.

    Returns
    -------
    Prepared
        Its arrays are read-only maps of files.

    Raises
    ------
    InputError
        If an input is bad or missing, or the disk is full; nothing half-written is left behind,
        and the work can be taken up again.
    """
    entry = Path(folder) / f"{subject.name}-{key(subject, task, plan)}"
    if not (entry / "grids.json").is_file():
        _store(prepare(subject, task, plan), entry)
    return _mapped(subject.name, entry)


def key(subject: Subject, task: Task, plan: Plan) -> str:
    """Sixteen hexadecimal digits of all that a prepared subject depends on."""
    content = {
        "version": VERSION,
        "files": [_stamp(path) for path in (*subject.images, subject.labels)],
        "channels": [c.model_dump() for c in task.channels],
        "labels": task.labels,
        "spacing_mm": plan.spacing_mm,
        "statistics": [s.model_dump() for s in plan.statistics],
        "inside_nonzero": plan.inside_nonzero,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _stamp(path: Path | None) -> list[Any] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error}") from error
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _store(made: Prepared, entry: Path) -> None:
    """Write an entry beside its place, then move it there at once."""
    temporary = entry.with_name(f".{uuid4().hex}.partial")
    try:
        temporary.mkdir(parents=True)
        np.save(temporary / "image.npy", made.image)
        if made.labels is not None:
            np.save(temporary / "labels.npy", made.labels)
        grids = {"grid": _content(made.grid), "native": _content(made.native)}
        (temporary / "grids.json").write_text(json.dumps(grids), encoding="utf-8")
        temporary.replace(entry)
    except OSError as error:
        if entry.is_dir():  # another process was faster
            return
        advice = "Make room" if error.errno == errno.ENOSPC else "Correct it"
        raise InputError(
            f"the cache {entry.parent} can't hold {made.name} ({made.image.nbytes / 1e6:.0f} MB): "
            f"{error.strerror or error}. {advice} or choose another folder; what is there already "
            "is kept"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _mapped(name: str, entry: Path) -> Prepared:
    try:
        grids = json.loads((entry / "grids.json").read_text(encoding="utf-8"))
        image = np.load(entry / "image.npy", mmap_mode="r")
        file = entry / "labels.npy"
        labels = np.load(file, mmap_mode="r") if file.is_file() else None
        grid, native = (Grid(tuple(g["shape"]), np.array(g["affine"])) for g in grids.values())
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:  # two maps for a subject
            raise InputError(
                f"{name}: more files are open than the system allows; `ulimit -n 65536` before the "
                "start allows more"
            ) from error
        raise InputError(f"{entry} is damaged ({error}): delete it, it is made again") from error
    return Prepared(name, image, labels, grid, native)


def _content(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}
