"""Bad shapes through `bonekit mesh`: refused with the place, and nothing is left behind."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from bonekit.image import write
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import REGIONS

Command = Callable[..., tuple[int, str, str]]
PLACE = r"\(-?\d+\.\d, -?\d+\.\d, -?\d+\.\d\) mm"


def block(folder: Path, change: Callable[[np.ndarray], None], spacing: float = 1.0) -> Path:
    array = np.zeros((14, 14, 14), dtype=np.uint8)
    array[2:12, 2:12, 2:12] = 1
    change(array)
    path = folder / "labels.nii.gz"
    write(LabelMap(array, Grid.of(array.shape, spacing, (10.0, -200.0, 900.0)), REGIONS), path)
    return path


def nothing(array: np.ndarray) -> None:
    """Leave the block as it is."""


def one_voxel(array: np.ndarray) -> None:
    array[:] = 0
    array[5, 5, 5] = 1


def one_voxel_lesion(array: np.ndarray) -> None:
    array[5, 5, 5] = 3


def at_an_edge(array: np.ndarray) -> None:
    array[:] = 0
    array[2:7, 2:7, 2:12] = 1
    array[7:12, 7:12, 2:12] = 2


REFUSED = [
    (one_voxel, "bone.stl", [], 1.0, f"1 voxel of .* near {PLACE}"),
    (one_voxel_lesion, "bone.vtu", ["--edge", "4"], 1.0, f"'lesion' .* near {PLACE}.*no cube"),
    (one_voxel_lesion, "bone.vtu", ["--kind", "tetra"], 1.0, f"'lesion' has 1 voxel near {PLACE}"),
    (at_an_edge, "bone.vtu", ["--kind", "tetra"], 1.0, f"only at an edge .* near {PLACE}"),
    (at_an_edge, "bone.vtu", ["--edge", "1"], 1.0, f"near {PLACE}.*hangs apart"),
    (nothing, "bone.vtu", ["--edge", "2"], 0.001, f"near {PLACE}.*looks like metres"),
    (nothing, "bone.vtu", ["--edge", "0.01"], 1.0, "million elements.*Take .* mm or more"),
    (nothing, "bone.stl", ["--edge", "0.005"], 1.0, "million triangles.*Take .* mm or more"),
]


@pytest.mark.parametrize(("change", "name", "options", "spacing", "says"), REFUSED)
def test_bad_labels_are_refused(
    tmp_path: Path,
    command: Command,
    change: Callable[[np.ndarray], None],
    name: str,
    options: list[str],
    spacing: float,
    says: str,
) -> None:
    source = block(tmp_path, change, spacing)
    before = sorted(tmp_path.iterdir())
    code, _, errors = command("mesh", source, "-o", tmp_path / name, *options)
    assert code == 2, errors
    assert re.search(says, " ".join(errors.replace("│", " ").split())), errors
    assert sorted(tmp_path.iterdir()) == before


def test_surfaces_through_each_other_are_refused(tmp_path: Path, command: Command) -> None:
    one, two = pv.Icosphere(radius=20.0, nsub=2), pv.Icosphere(20.0, center=(15, 3, 2), nsub=2)
    one.merge(two).extract_surface(algorithm=None).save(tmp_path / "two.stl")
    before = sorted(tmp_path.iterdir())
    code, _, errors = command("mesh", tmp_path / "two.stl", "-o", tmp_path / "bone.stl")
    assert code == 2, errors
    assert "crosses itself" in errors
    assert sorted(tmp_path.iterdir()) == before
