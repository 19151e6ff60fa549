"""Random label maps: a mesh that is valid and keeps every region, or a refusal that says where.

Blocks, sheets and threads of three regions are thrown into a small image, so that regions touch at
faces, edges and corners, hang apart, or are a voxel thin. The examples are the same each time;
BONEKIT_EXAMPLES=300 tries that many of each kind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.elements import dihedral_angles, scaled_jacobian
from bonekit.meshing.levelset import FACES
from bonekit.meshing.repair import check_surface
from bonekit.meshing.shared_surfaces import region_surfaces
from bonekit.meshing.surface import surface
from bonekit.meshing.tetra import tetra_mesh
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.base import REGIONS

NAMES = {value: REGIONS[value] for value in (1, 2, 3)}
SHAPE = (12, 12, 12)
Made = TypeVar("Made")


def examples(n: int) -> settings:
    """Same examples each time, none kept on disk, no limit on the time of one."""
    return settings(
        max_examples=int(os.environ.get("BONEKIT_EXAMPLES", n)),
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def label_maps(draw: st.DrawFn) -> LabelMap:
    """Up to six boxes of three regions, later ones over earlier ones, in a block or in nothing."""
    array = np.zeros(SHAPE, dtype=np.uint8)
    if draw(st.booleans()):
        array[1:11, 1:11, 1:11] = 1
    for _ in range(draw(st.integers(1, 6))):
        low = draw(st.tuples(*[st.integers(0, 10)] * 3))
        size = draw(st.tuples(*[st.sampled_from([1, 2, 3, 5, 8])] * 3))
        box = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
        array[box] = draw(st.integers(0, 3))
    spacing = draw(st.sampled_from([(1.0, 1.0, 1.0), (1.0, 1.0, 3.0)]))
    return LabelMap(array, Grid.of(SHAPE, spacing, (10.0, -200.0, 900.0)), NAMES)


def made_or_refused(mesh: Callable[[], Made], labels: LabelMap) -> Made | None:
    """Mesh, or none if the refusal names a place in the image, a region, or has none to name."""
    try:
        return mesh()
    except (InputError, MeshQualityError) as refusal:
        text = str(refusal)
        if not labels.array.any():
            return None
        if "does not keep the shapes" in text:  # of regions as wholes
            assert re.search(r"region '|surface of the bone", text)
            return None
        where = re.search(r"\((-?[\d.]+), (-?[\d.]+), (-?[\d.]+)\)", text)
        assert where, f"names no place: {text}"
        index = labels.grid.index(np.array([float(x) for x in where.groups()]))
        assert (index > -3).all(), text
        assert (index < np.array(SHAPE) + 2).all(), text
        return None


def present(labels: LabelMap) -> set[int]:
    return set(np.unique(labels.array).tolist()) - {0}


@examples(60)
@given(label_maps())
def test_voxels(labels: LabelMap) -> None:
    mesh = made_or_refused(lambda: voxel_mesh(labels, 1.0), labels)
    if mesh is None:
        return
    assert set(np.unique(mesh.element_region).tolist()) == present(labels)
    assert mesh.elements.min() == 0
    assert len(np.unique(mesh.elements)) == mesh.n_nodes
    cubes = np.sort(mesh.elements, axis=1)
    assert len(np.unique(cubes, axis=0)) == mesh.n_elements


@examples(40)
@given(label_maps(), st.sampled_from([0, 20]))
def test_surfaces(labels: LabelMap, smoothing: int) -> None:
    made = made_or_refused(lambda: surface(labels, smoothing=smoothing), labels)
    if made is not None:
        check_surface(made)
        assert made.smoothing is not None
        assert made.smoothing.largest_voxels <= 0.5 + 1e-9


@examples(40)
@given(label_maps(), st.sampled_from([0, 20]))
def test_surfaces_of_regions(labels: LabelMap, smoothing: int) -> None:
    made = made_or_refused(lambda: region_surfaces(labels, smoothing=smoothing), labels)
    if made is None:
        return
    assert set(made.names) == present(labels)
    for name in made.names.values():
        check_surface(made.of(name))
    check_surface(made.of(*made.names.values()))


@examples(4)
@given(label_maps())
def test_tetrahedra(labels: LabelMap) -> None:
    mesh = made_or_refused(lambda: tetra_mesh(labels, 3.0), labels)
    if mesh is None:
        return
    assert set(np.unique(mesh.region).tolist()) == present(labels)
    assert scaled_jacobian(mesh.nodes_mm, mesh.tetrahedra).min() > 0.1
    angle = dihedral_angles(mesh.nodes_mm, mesh.tetrahedra)
    assert angle.min() > 10
    assert angle.max() < 165
    face = np.sort(mesh.tetrahedra[:, FACES].reshape(-1, 3), axis=1)
    assert np.unique(face, axis=0, return_counts=True)[1].max() <= 2
