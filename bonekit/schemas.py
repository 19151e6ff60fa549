"""JSON Schemas of the files that bonekit reads and writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bonekit.case import Case
from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.result import Result
from bonekit.segmentation.base import COLOURS, LABELS
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, type[BaseModel]] = {"case": Case, "result": Result, "task": Task, "plan": Plan}


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of ``case``, ``result``, ``task`` or ``plan``.

    Raises
    ------
    InputError
        For any other name.
    """
    if name not in MODELS:
        raise InputError(f"there is no schema {name!r}; there are: {', '.join(MODELS)}")
    schema = MODELS[name].model_json_schema()
    if "$ref" in schema:  # a model that holds itself: its entries belong to the top
        schema = {**schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]], "$defs": schema["$defs"]}
    return {"$schema": DIALECT, **schema}


def label_table() -> dict[str, Any]:
    """Regions of a segmented bone and parts added to it: value, name, colour."""
    return {
        "title": "Regions of a segmented bone and parts added to it",
        "labels": [
            {"value": value, "name": name, "colour": list(COLOURS[value])}
            for value, name in LABELS.items()
        ],
    }


def write_schemas(folder: str | Path) -> list[Path]:
    """Write the schema of each model (``case.schema.json`` ...) and labels.json into a folder.

    ``python -m bonekit.schemas data_schema`` does it from the command line.
    """
    contents = {f"{name}.schema.json": schema_of(name) for name in MODELS}
    contents["labels.json"] = label_table()
    for name, content in contents.items():
        with replacing(Path(folder) / name) as temporary:
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            temporary.write_text(text, encoding="utf-8")
    return [Path(folder) / name for name in contents]


if __name__ == "__main__":
    write_schemas(*sys.argv[1:] or ["data_schema"])
