"""What all parts of a case file share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Kind = Literal["k2hpo4", "hydroxyapatite", "ash", "apparent", "wet"]


class Part(BaseModel):
    """A part of a case: unknown entries are refused, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
