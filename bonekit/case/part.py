"""What all parts of a case file share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bonekit.part import Part

__all__ = ["Kind", "Part", "Positive"]

Positive = Annotated[float, Field(gt=0)]
Kind = Literal["k2hpo4", "hydroxyapatite", "ash", "apparent", "wet"]
