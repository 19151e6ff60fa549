"""What a reader must know first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from bonekit.image.volume import Grid, LabelMap
from bonekit.remarks import _lost_regions


def test_a_region_without_a_cube_is_named() -> None:
    labels = np.ones((4, 4, 4), dtype=np.uint8)
    labels[0, 0, 0] = 3
    names = {1: "cortex", 2: "trabecular", 3: "lesion"}
    map_of = LabelMap(labels, Grid.of((4, 4, 4), (1.0, 1.0, 1.0)), names)
    mesh = SimpleNamespace(names=names, region=np.ones((2, 2, 2), dtype=np.uint8))
    finished: Any = SimpleNamespace(
        problem=SimpleNamespace(model=SimpleNamespace(mesh=mesh)),
        segmentation=SimpleNamespace(labels=map_of),
    )
    (told,) = _lost_regions(finished)
    assert (told.severity, told.code) == ("warning", "region-lost")
    assert "mostly lesion" in told.message
    mesh.region[0, 0, 0] = 3
    assert list(_lost_regions(finished)) == []
