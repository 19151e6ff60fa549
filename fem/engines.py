"""Names of the engines that solve a model."""

from __future__ import annotations

from typing import Literal, TypeAlias

Engine: TypeAlias = Literal["voxel", "conforming"]
