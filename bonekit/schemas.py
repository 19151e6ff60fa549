"""JSON Schemas of the files that bonekit reads and writes."""

from __future__ import annotations

from typing import Any

from bonekit.case import Case
from bonekit.errors import InputError
from bonekit.result import Result
from bonekit.segmentation.base import COLOURS, REGIONS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS = {"case": Case, "result": Result}


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of ``case`` or ``result``.

    Raises
    ------
    InputError
        For any other name.
    """
    if name not in MODELS:
        raise InputError(f"there is no schema {name!r}; there are: {', '.join(MODELS)}")
    return {"$schema": DIALECT, **MODELS[name].model_json_schema()}


def label_table() -> dict[str, Any]:
    """Regions of a segmented bone: value, name, colour."""
    return {
        "title": "Regions of a segmented bone",
        "labels": [
            {"value": value, "name": name, "colour": list(COLOURS[value])}
            for value, name in REGIONS.items()
        ],
    }
