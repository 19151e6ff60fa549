"""A folder that holds one run: stages that are done once, files that are whole or absent.

Each stage leaves ``stages/<name>.json`` when all its files are in place: the key of what went in
and the hash of each file that came out. A stage whose key and files still match is not done again;
anything else is, and all that follows from it. Nothing of a run that was killed can pass as a
result, because the record is written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

import bonekit
from bonekit.errors import InputError
from bonekit.image.writing import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """A stage that is done: its record."""

    name: str
    key: str
    files: dict[str, str]  # name -> sha256
    seconds: float
    peak_memory_MB: float
    reused: bool = False


class RunFolder:
    """One run on disk.

    Parameters
    ----------
    path : Path
        Made if it does not exist.
    files : mapping of str to sequence of str
        What each stage leaves in the folder: stage -> names.

    Raises
    ------
    InputError
        If the path is a file, can't be made, or is not writable; if it holds files of these names
        that are not those of a run.
    """

    def __init__(
        self,
        path: str | Path,
        files: Mapping[str, Sequence[str]],
        optional: Collection[str] = (),
    ) -> None:
        self.path = Path(path)
        self.files, self.optional = files, optional
        self.done: dict[str, Done] = {}
        names = ["case.json", *(name for part in files.values() for name in part)]
        foreign = [name for name in names if (self.path / name).exists()]
        if foreign and not (self.path / "stages").is_dir():
            raise InputError(
                f"{self.path} is no run folder but holds {', '.join(foreign)}, which a run would "
                "replace. Choose a new folder"
            )
        try:
            (self.path / "stages").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"can't make the run folder {self.path}: {error.strerror}") from error
        if not os.access(self.path, os.W_OK):
            raise InputError(f"the run folder {self.path} is not writable")

    @classmethod
    def of(cls, path: str | Path, stages: Sequence[str]) -> RunFolder:
        """Open a folder in which some stages are finished, to read from.

        Raises
        ------
        InputError
            If it is no run folder, or a stage is not finished or a file of it changed.
        """
        if not (Path(path) / "case.json").is_file():
            raise InputError(f"{path} is not a run folder: it has no case.json. See `bonekit run`")
        folder = cls(path, {})
        for name in stages:
            folder.recall(name)
        return folder

    def stage(self, name: str, inputs: Any, work: Callable[[], None]) -> Done:
        """Do a stage unless it was done with the same inputs and its files are intact.

        Parameters
        ----------
        name : str
        inputs : Any
            What decides the outcome, as JSON can hold it; the stages before are added.
        work : callable
            Leaves the files of the stage in the folder.
        """
        before = {n: d.files for n, d in self.done.items()}
        key = digest_of({"inputs": inputs, "before": before, "bonekit": bonekit.__version__})
        known = self._record(name)
        if known is not None and known.key == key and self._intact(known):
            log.info("%s: reused", name)
            self.done[name] = known
            return known
        self._forget()
        with measured() as cost:
            work()
        made = {
            file: digest_of_file(self.path / file)
            for file in self.files[name]
            if file not in self.optional or (self.path / file).is_file()
        }
        done = Done(name, key, made, cost.seconds, cost.peak_MB)
        record = {k: v for k, v in vars(done).items() if k != "reused"}
        write_json(self.path / "stages" / f"{name}.json", record)
        log.info("%s: %.1f s, %.0f MB", name, done.seconds, done.peak_memory_MB)
        self.done[name] = done
        return done

    def recall(self, name: str) -> Done:
        """Take a stage as it was left, whatever went in.

        Raises
        ------
        InputError
            If it was not done, or a file of it changed since.
        """
        known = self._record(name)
        if known is None or not self._intact(known):
            raise InputError(
                f"the run folder {self.path} has no finished stage {name!r}; "
                "start with `bonekit run`"
            )
        self.done[name] = known
        return known

    def drop(self, *files: str) -> None:
        """Remove results that belong to other inputs."""
        for file in files:
            (self.path / file).unlink(missing_ok=True)

    def _record(self, name: str) -> Done | None:
        path = self.path / "stages" / f"{name}.json"
        try:
            return Done(**json.loads(path.read_text(encoding="utf-8")), reused=True)
        except (OSError, ValueError, TypeError):
            return None

    def _intact(self, done: Done) -> bool:
        paths = {self.path / file: digest for file, digest in done.files.items()}
        return all(p.is_file() and digest_of_file(p) == digest for p, digest in paths.items())

    def _forget(self) -> None:
        """Remove what this stage left, and what the later ones made of it."""
        for name in self.files.keys() - self.done.keys():
            self.drop(f"stages/{name}.json", *self.files[name])

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep other runs out of the folder, and write bonekit's log to log.txt as well.

        Raises
        ------
        InputError
            If another run is at work in it. The lock is the system's: it goes with the process.
        """
        try:
            with FileLock(self.path / "stages" / "lock", timeout=0), self._logging():
                yield
        except Timeout as error:
            raise InputError(
                f"another run is at work in {self.path}. Wait for it, or choose another folder"
            ) from error

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Write the log of all of bonekit to log.txt as well."""
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("bonekit")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            handler.close()


@dataclass
class Cost:
    """What a piece of work took."""

    seconds: float = 0.0
    peak_MB: float = 0.0


@contextmanager
def measured(every_s: float = 0.05) -> Iterator[Cost]:
    """Measure time and the peak of resident memory, by looking at it 20 times a second."""
    cost, process, stop = Cost(), psutil.Process(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            cost.peak_MB = max(cost.peak_MB, process.memory_info().rss / 1e6)
            stop.wait(every_s)

    watcher = threading.Thread(target=watch, daemon=True)
    start = time.perf_counter()
    watcher.start()
    try:
        yield cost
    finally:
        stop.set()
        watcher.join()
        cost.seconds = time.perf_counter() - start


def digest_of(content: Any) -> str:
    """Sha256 of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Sha256 of a file; of a folder, that of its files' hashes in sorted order, names left out."""
    if path.is_dir():
        return digest_of_files(p for p in path.rglob("*") if p.is_file())
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_files(paths: Iterable[Path]) -> str:
    """Sha256 of the files' hashes in sorted order, names left out."""
    parts = sorted(digest_of_file(path) for path in paths)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
