"""Task files, those that come with bonekit and the user's own."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.task import Task

Model = TypeVar("Model", bound=BaseModel)


def built_in_tasks() -> dict[str, str]:
    """Names of the tasks that come with bonekit, and what each is for."""
    return {name: load_task(name).description for name in _names()}


def load_task(source: str | Path) -> Task:
    """Read a task.

    Parameters
    ----------
    source : str or Path
        Name of a built-in task (``bone_ct``), or path of a ``.yaml`` or ``.json`` file.

    Raises
    ------
    InputError
        If there is no such task or file, or if the file has an unknown or a wrong entry; the
        message names the entry and what is allowed.
    """
    if isinstance(source, str) and source in _names():
        text = (files("bonekit.data_schema") / "tasks" / f"{source}.yaml").read_text("utf-8")
        return _parse(text, source)
    path = Path(source)
    if not path.is_file():
        near = difflib.get_close_matches(str(source), _names(), 1)
        raise InputError(
            f"there is no task {str(source)!r}{f'; did you mean {near[0]}?' if near else ''}. "
            f"Allowed: {', '.join(_names())}, or the path of a task file"
        )
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the task file {path} can't be read: {error}") from error


def save_task(task: Task, path: str | Path) -> None:
    """Write a task as YAML, entries that have their default left out."""
    content = task.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def validated(model: type[Model], content: Any, origin: str) -> Model:
    """Check the content of a file against its model; `origin` names it in errors.

    Raises
    ------
    InputError
        One line for each wrong entry, then what is allowed at the top.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc'])) or 'whole'}: {e['msg']}, found {e['input']!r:.60}"
            for e in error.errors()
        ]
        raise InputError(
            f"{origin} has {len(lines)} wrong {'entry' if len(lines) == 1 else 'entries'}:\n"
            + "\n".join(lines)
            + f"\nallowed at the top: {', '.join(model.model_fields)}"
        ) from error


def _parse(text: str, origin: str) -> Task:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the task {origin} is neither YAML nor JSON: {error}") from error
    return validated(Task, content, f"the task {origin}")


def _names() -> list[str]:
    folder = files("bonekit.data_schema") / "tasks"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")
