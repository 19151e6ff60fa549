"""Further loads of the same bone: run folders inside a run folder, which share its first stages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from bonekit.case import Case
from bonekit.errors import InputError
from bonekit.pipeline.peak import PEAK, obstacle_of
from bonekit.result import Result
from bonekit.runfolder import RunFolder

BEFORE, SHARED = ("segment", "calibrate"), ("segment", "calibrate", "density")


def branch_cases(case: Case) -> dict[str, Case]:
    """Cases of the further loads by the names of their folders.

    A load under which no nonlinear path can be walked is judged by a linear criterion.
    """
    cases = {}
    for n, load in enumerate(case.more_loads, start=2):
        own: dict[str, Any] = {"load": load, "more_loads": ()}
        if case.criterion == PEAK and obstacle_of(case, load):
            own["criterion"] = None
        cases[f"load_{n}_{load.case}"] = case.model_copy(update=own)
    return cases


def branch_folder(folder: RunFolder, name: str) -> RunFolder:
    """Make the run folder of a further load, or find it, with the shared stages as they are now.

    No load decides those. Files are linked where the file system can, else copied.
    """
    branch = RunFolder(folder.path / name, folder.files, folder.optional)
    for stage in SHARED:
        for file in (*folder.done[stage].files, f"stages/{stage}.json"):
            _take(folder.path / file, branch.path / file)
    for stage in BEFORE:
        branch.recall(stage)
    return branch


def _take(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.taken")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copy2(source, temporary)
    temporary.replace(target)


def drop_branches(folder: RunFolder, kept: set[str]) -> None:
    """Remove the folders of loads that the case does not name any more."""
    for path in folder.path.glob("load_*_*"):
        if path.name not in kept and (path / "stages").is_dir():
            shutil.rmtree(path)


def branch_results(folder: RunFolder, case: Case) -> dict[str, Result]:
    """Read what the further loads gave, by folder.

    Raises
    ------
    InputError
        If one of them is not finished.
    """
    found = {}
    for name in branch_cases(case):
        path = folder.path / name / "result.json"
        if not path.is_file():
            raise InputError(
                f"the further load in {path.parent} is not finished: use `bonekit solve`"
            )
        found[name] = Result.model_validate_json(path.read_text(encoding="utf-8"))
    return found
