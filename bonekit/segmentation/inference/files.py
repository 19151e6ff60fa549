"""Predictions of many subjects to a folder; a run that was killed goes on where it stopped.

Of each subject, ``<name>.nii.gz`` (labels), ``<name>_entropy.nii.gz``, ``<name>_sample0.nii.gz``
and so on, ``<name>_probabilities.npy`` if asked for, and ``<name>_report.json``, which is written
last: verdict, measures, hashes. Unfinished work lies in ``.<name>.partial``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.image import LabelMap, write
from bonekit.image.mapped import release
from bonekit.image.writing import replacing
from bonekit.runfolder import digest_of, digest_of_file, write_json
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.inference.ensemble import device_of, load_networks
from bonekit.segmentation.inference.native import Outputs
from bonekit.segmentation.inference.predict import Prediction, finish, run, slabs_of
from bonekit.segmentation.inference.settings import PredictSettings
from bonekit.segmentation.inference.source import Source, open_source
from bonekit.segmentation.models.card import WARNING
from bonekit.segmentation.models.folder import Model, fingerprint

Progress = Callable[[str, int, int], None]  # subject, slabs done, slabs in all
Networks = tuple[nn.Module, ...]


@dataclass(frozen=True)
class Job:
    """One subject of a run."""

    subject: Subject
    folder: Path
    key: str  # changes with model, settings and images

    @property
    def report(self) -> Path:
        """File that is there when all others are."""
        return self.folder / f"{self.subject.name}_report.json"

    @property
    def labels(self) -> Path:
        """File of the labels."""
        return self.folder / f"{self.subject.name}.nii.gz"

    @property
    def partial(self) -> Path:
        """Folder of unfinished work."""
        return self.folder / f".{self.subject.name}.partial"

    @property
    def done(self) -> bool:
        """Whether the subject was predicted with this model, these settings and images."""
        return bool(_json(self.report).get("key") == self.key) and self.labels.is_file()


def to_files(
    model: Model,
    subjects: Iterable[Subject],
    folder: str | Path,
    settings: PredictSettings | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Predict subjects and write what is found.

    Called again after it was stopped, it leaves out what is done and goes on within a subject at
    the slab it had reached; the files are the same to the last bit. A subject is done again if
    model, settings or images have changed.

    Parameters
    ----------
    model : Model
    subjects : iterable of Subject
    folder : str or Path
        Made if absent.
    settings : PredictSettings, optional
    progress : callable, optional
        Called with the name of the subject, the slabs done and the slabs in all.

    Returns
    -------
    tuple of Path
        Files of the labels.

    Raises
    ------
    InputError
        As `predict`; if two subjects have one name; if the disk is full.
    """
    chosen, target = settings or PredictSettings(), Path(folder)
    listed = tuple(subjects)
    _check_names(listed)
    target.mkdir(parents=True, exist_ok=True)
    base = f"{fingerprint(model)} {chosen.model_dump_json()} {__version__}"
    networks = load_networks(model, device_of(chosen))
    jobs = [Job(subject, target, _hash(base, subject)) for subject in listed]
    for job in jobs:
        if not job.done:
            try:
                _predict(model, networks, job, chosen, progress or (lambda *_: None))
            except OSError as error:
                raise InputError(
                    f"{job.subject.name}: can't write to {target} ({error}). Make room and start "
                    "again: finished subjects and slabs are kept"
                ) from error
    return tuple(job.labels for job in jobs)


def _predict(
    model: Model, networks: Networks, job: Job, settings: PredictSettings, progress: Progress
) -> None:
    fresh = _json(job.partial / "state.json").get("key") != job.key
    if fresh:
        shutil.rmtree(job.partial, ignore_errors=True)
        job.report.unlink(missing_ok=True)
        job.partial.mkdir()
    source = open_source(model, job.subject, job.partial)
    total = slabs_of(source, model.task, settings)
    if fresh:
        _begin(job, source, model, settings)
    first = int(_json(job.partial / "state.json")["slabs"])
    outputs = _arrays(job, "r+")
    if first < total:
        for number in run(model, networks, source, settings, outputs, first):
            _flush(outputs)
            _note(job, number + 1)
            progress(job.subject.name, number + 1, total)
    # Post-processing changes arrays in place: it gets copies, lest it be done twice after a kill.
    _save(job, finish(model, source, _arrays(job, "c")), model, settings)
    shutil.rmtree(job.partial)


def _begin(job: Job, source: Source, model: Model, settings: PredictSettings) -> None:
    """Put empty arrays on the disk, so that a full disk is found at once; then note the start."""
    empty = Outputs.empty(source.native, model.task, settings.samples, settings.probabilities)
    for name, array in vars(empty).items():
        if array is not None:
            np.save(job.partial / f"{name}.npy", array.swapaxes(-1, -3))
    _note(job, 0)


def _arrays(job: Job, mode: Any) -> Outputs:
    def load(name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(job.partial / f"{name}.npy", mmap_mode=mode)
        return array.swapaxes(-1, -3)

    has = (job.partial / "probabilities.npy").is_file()
    probabilities = load("probabilities") if has else None
    return Outputs(load("labels"), load("entropy"), load("samples"), probabilities)


def _flush(outputs: Outputs) -> None:
    for array in vars(outputs).values():
        if isinstance(array, np.memmap):
            array.flush()
            release(array)


def _note(job: Job, slabs: int) -> None:
    write_json(job.partial / "state.json", {"key": job.key, "slabs": slabs})


def _save(job: Job, made: Prediction, model: Model, settings: PredictSettings) -> None:
    name = job.subject.name
    write(made.labels, job.labels)
    write(made.entropy, job.folder / f"{name}_entropy.nii.gz")
    for number, sample in enumerate(made.samples):
        plain = LabelMap(sample.array, sample.grid)  # one table of names is enough
        write(plain, job.folder / f"{name}_sample{number}.nii.gz")
    if made.probabilities is not None:
        with replacing(job.folder / f"{name}_probabilities.npy") as temporary:
            np.save(temporary, made.probabilities)
    report = {
        "subject": name,
        "warning": WARNING,
        "sound": made.verdict.sound,
        "findings": [asdict(finding) for finding in made.verdict.findings],
        "measures": dict(made.verdict.measures),
        "task": model.task.name,
        "synthetic_model": model.card.synthetic,
        "model": fingerprint(model),
        "settings": settings.model_dump(mode="json"),
        "bonekit": __version__,
        "key": job.key,
    }
    write_json(job.report, report)


def _check_names(subjects: tuple[Subject, ...]) -> None:
    names = [subject.name for subject in subjects]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"several subjects are named {', '.join(doubled)}; rename them")
    if bad := [name for name in names if not name or "/" in name or name.startswith(".")]:
        raise InputError(f"{bad[0]!r} can't be part of a file name; rename the subject")


def _hash(base: str, subject: Subject) -> str:
    absent = [path for path in subject.images if path is not None and not path.exists()]
    if absent:
        raise InputError(f"{subject.name}: there is no image {absent[0]}")
    images = [None if path is None else digest_of_file(path) for path in subject.images]
    return digest_of([base, images])


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
