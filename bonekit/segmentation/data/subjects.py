"""The subjects of a data set: files, labels, and what is known of each scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bonekit.segmentation.task import Task


@dataclass(frozen=True)
class Subject:
    """One subject (in a longitudinal task, one pair of visits).

    Parameters
    ----------
    name : str
    images : tuple of Path or None
        One for each channel of the task, in its order; None where an optional one is absent.
    labels : Path, optional
        Reference labels, absent in test data.
    columns : mapping of str to str
        A row of the case sheet: scanner, field strength, site, sequence, any other.
    """

    name: str
    images: tuple[Path | None, ...]
    labels: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A task and its subjects, names all different."""

    task: Task
    subjects: tuple[Subject, ...]
