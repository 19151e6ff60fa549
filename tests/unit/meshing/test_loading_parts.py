"""Parts on a femur and a vertebra whose surfaces are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.loading_parts import (
    along,
    with_endplate_caps,
    with_head_cup,
    with_trochanter_pad,
)
from bonekit.meshing.named_sets import named_sets
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.base import BONE_REGIONS, PARTS, REGIONS

TURN = Rotation.from_euler("xyz", (15, -10, 25), degrees=True).as_matrix()
HEAD, OFFSET = 24.0, 42.0
CENTRE = np.array([10.0, 20.0, 30.0])
WIDTH, DEPTH, HEIGHT = 46.0, 34.0, 28.0


def femur_anatomy(turn: np.ndarray = TURN) -> FemurAnatomy:
    up, lateral = turn[:, 2], turn[:, 0]
    end = CENTRE + OFFSET * lateral - 100.0 * up
    return FemurAnatomy("left", CENTRE, HEAD, lateral, end, up, 0.0, 70.0, 900.0)


def femur(turn: np.ndarray = TURN, spacing_mm: float = 1.5) -> LabelMap:
    """Head on a neck into a shaft with a trochanter; the image ends at the head's top."""
    low = np.array([-30.0, -30.0, -85.0])
    shape = tuple(np.ceil((np.array([62.0, 31.0, HEAD + 1.0]) - low) / spacing_mm).astype(int))
    grid = Grid.of(shape, spacing_mm, CENTRE + turn @ low, turn)
    x, y, z = np.moveaxis((grid.points() - CENTRE) @ turn, -1, 0)
    head = x**2 + y**2 + z**2 < HEAD**2
    neck = (np.hypot(y, z) < 13) & (x > 0) & (x < 45)
    shaft = (np.hypot(x - OFFSET, y) < 14) & (z < -10)
    trochanter = ((x - OFFSET - 2) / 17) ** 2 + (y / 16) ** 2 + (z / 20) ** 2 < 1
    return LabelMap((head | neck | shaft | trochanter).astype(np.uint8), grid, dict(REGIONS))


def vertebra_anatomy(turn: np.ndarray = TURN) -> VertebraAnatomy:
    up, back = turn[:, 2], turn[:, 1]
    top, bottom = CENTRE + HEIGHT / 2 * up, CENTRE - HEIGHT / 2 * up
    return VertebraAnatomy(CENTRE, top, bottom, up, -up, up, -back, HEIGHT, DEPTH, WIDTH)


def vertebra(turn: np.ndarray = TURN, spacing_mm: float = 1.0) -> LabelMap:
    """Elliptic body with hollow endplates and an arch behind; the image ends at the endplates."""
    low, high = np.array([-26.2, -20.2, -15.2]), np.array([26.0, 50.0, 15.0])
    shape = tuple(np.ceil((high - low) / spacing_mm).astype(int))
    grid = Grid.of(shape, spacing_mm, CENTRE + turn @ low, turn)
    x, y, z = np.moveaxis((grid.points() - CENTRE) @ turn, -1, 0)
    ellipse = (2 * x / WIDTH) ** 2 + (2 * y / DEPTH) ** 2
    body = (ellipse < 1) & (np.abs(z) < HEIGHT / 2 - 1.5 * np.maximum(1 - ellipse, 0))
    arch = (np.abs(x) < 20) & (y > 10) & (y < 45) & (np.abs(z) < 6)
    return LabelMap((body | arch).astype(np.uint8), grid, dict(REGIONS))


def local(labels: LabelMap, value: int) -> np.ndarray:
    """Places of a label's voxels about the centre, along the bone's axes."""
    return (labels.grid.world(np.argwhere(labels.array == value)) - CENTRE) @ TURN


def test_a_cup_fits_the_head() -> None:
    made = with_head_cup(femur(), femur_anatomy(), thickness_mm=6.0, half_angle_deg=45.0)
    (part,) = made.parts
    radius = HEAD * np.sin(np.pi / 4)
    assert part.contact_mm2 == pytest.approx(np.pi * radius**2, rel=0.03)
    # cylinder from the rim's plane to the flat face, without the cap of the head
    rim, rise = HEAD * np.cos(np.pi / 4), HEAD * (1 - np.cos(np.pi / 4))
    cap = np.pi * rise**2 * (HEAD - rise / 3)
    assert part.volume_mm3 == pytest.approx(np.pi * radius**2 * (HEAD + 6 - rim) - cap, rel=0.06)
    np.testing.assert_allclose((part.face_mm - CENTRE) @ TURN, (0, 0, HEAD + 6), atol=0.6)
    x, y, z = local(made.labels, part.label).T
    assert np.hypot(x, y).max() < radius + 0.8
    assert z.max() <= HEAD + 6 + 0.8
    assert z.min() > rim - 0.8
    # no gap: all voxels between head and face are part or bone
    near = (np.hypot(x, y) < radius - 2).sum()
    grid = made.labels.grid
    u, v, w = np.moveaxis((grid.points() - CENTRE) @ TURN, -1, 0)
    column = (np.hypot(u, v) < radius - 2) & (w > rim) & (w < HEAD + 5)
    assert (made.labels.array[column] > 0).all()
    assert near > 0


def test_bone_stays_and_the_image_grows() -> None:
    labels = femur()
    made = with_head_cup(labels, femur_anatomy())
    assert made.n_padded[1, 2] >= 3
    assert made.n_padded.sum() == made.n_padded[1, 2]
    (a, b, c), shape = made.n_padded[0], labels.shape
    core = made.labels.array[a : a + shape[0], b : b + shape[1], c : c + shape[2]]
    np.testing.assert_array_equal(core == 1, labels.array == 1)
    assert np.count_nonzero(made.labels.array == 1) == np.count_nonzero(labels.array)
    np.testing.assert_allclose(made.labels.grid.world((a, b, c)), labels.grid.origin_mm)
    assert made.labels.names[20] == "cup"
    assert ndimage.label(made.labels.array == 20)[1] == 1


def test_other_bone_gives_way_but_a_lesion_does_not() -> None:
    array = femur().array.copy()
    x, y, z = np.moveaxis((femur().grid.points() - CENTRE) @ TURN, -1, 0)
    array[(array == 0) & (z > 16) & (np.hypot(x, y) < 20)] = 10
    array[(array == 1) & (z > 15)] = 3
    made = with_head_cup(femur().with_array(array), femur_anatomy()).labels
    assert np.count_nonzero(made.array == 3) == np.count_nonzero(array == 3)
    assert np.count_nonzero(made.array == 10) < 0.3 * np.count_nonzero(array == 10)


def test_a_cup_faces_its_force() -> None:
    direction = TURN @ np.array([0.3, 0.1, -1.0])
    (part,) = with_head_cup(femur(), femur_anatomy(), direction=direction).parts
    np.testing.assert_allclose(part.axis, -direction / np.linalg.norm(direction), atol=1e-12)
    np.testing.assert_allclose(np.cross(part.face_mm - CENTRE, part.axis), 0, atol=1.5)


def test_caps_fit_the_endplates_and_are_flat() -> None:
    made = with_endplate_caps(vertebra(), vertebra_anatomy(), thickness_mm=4.0)
    assert [part.name for part in made.parts] == ["cap_superior", "cap_inferior"]
    area = np.pi / 4 * WIDTH * DEPTH
    for part, sign in zip(made.parts, (1, -1), strict=True):
        assert part.contact_mm2 == pytest.approx(area, rel=0.06)
        z = sign * local(made.labels, part.label)[:, 2]
        assert z.max() + 0.5 == pytest.approx(sign * ((part.face_mm - CENTRE) @ TURN)[2], abs=1e-6)
        columns = np.moveaxis(made.labels.array, 2, 0)[::sign].reshape(made.labels.shape[2], -1)
        columns = columns[:, (columns == part.label).any(axis=0) & (columns == 1).any(axis=0)]
        last_bone = len(columns) - 1 - np.argmax(columns[::-1] == 1, axis=0)
        between = np.arange(len(columns))[:, None] - last_bone > 0
        filled = (columns == part.label).sum(axis=0)
        assert ((columns == part.label) & between).sum() == filled.sum()  # nothing below the bone
        top = np.flatnonzero((columns == part.label).any(axis=1)).max()
        near = top - last_bone < 8  # the others stand over the rim
        assert near.mean() > 0.99
        np.testing.assert_array_equal(filled[near], (top - last_bone)[near])  # no gap
        assert np.ptp(filled) >= 1
        assert part.thickness_mm == pytest.approx(4.0, abs=0.5)
        # all columns end in one layer: flat
        assert (z > z.max() - 1e-6).sum() == pytest.approx(part.face_mm2, rel=0.01)
        y = local(made.labels, part.label)[:, 1]
        assert y.max() < DEPTH / 2 + 3  # not over the arch
    assert made.n_padded[:, 2].min() >= 3


def test_a_pad_holds_the_trochanter() -> None:
    made = with_trochanter_pad(femur(), femur_anatomy(), thickness_mm=8.0, intrusion_mm=3.0)
    (part,) = made.parts
    np.testing.assert_allclose(part.axis, TURN[:, 0], atol=1e-9)
    tip = OFFSET + 2 + 17
    x, y, z = local(made.labels, part.label).T
    assert x.min() > tip - 3 - 2
    assert x.max() == pytest.approx(tip + 8, abs=1.5)
    semi = np.sqrt(1 - (1 - 3 / 17) ** 2)
    assert np.abs(y).max() == pytest.approx(16 * semi, abs=2.5)
    assert np.abs(z).max() == pytest.approx(20 * semi, abs=2.5)


def test_resampling_along_axes_keeps_volumes_and_flattens_faces() -> None:
    labels = vertebra(np.eye(3), 1.0)  # an upright bone, looked at along turned axes
    turned = along(labels, TURN, 1.0)
    assert np.count_nonzero(turned.array) == pytest.approx(np.count_nonzero(labels.array), rel=1e-3)
    np.testing.assert_allclose(
        turned.grid.world(np.argwhere(turned.array)).mean(axis=0),
        labels.grid.world(np.argwhere(labels.array)).mean(axis=0),
        atol=0.1,
    )
    np.testing.assert_allclose(turned.grid.direction, TURN, atol=1e-12)


def test_sets_of_a_femur_with_a_cup() -> None:
    anatomy = femur_anatomy()
    made = with_head_cup(femur(), anatomy, half_angle_deg=45.0)
    mesh = voxel_mesh(made.labels, 1.5, anatomy.frame, (*BONE_REGIONS, "cup"))
    found = named_sets(mesh, anatomy, made.parts)
    assert set(found) == {"head_cap", "distal_face", "cup_face", "cup_contact"}
    assert found["distal_face"].area_mm2 == pytest.approx(np.pi * 14**2, rel=0.05)
    height = anatomy.height_mm(mesh.nodes_mm[found["distal_face"].nodes])
    assert height.max() < height.min() + 1e-6
    assert found["cup_face"].area_mm2 == pytest.approx(made.parts[0].face_mm2, rel=0.06)
    # faces of bricks across the axis have the contact's area seen along it
    face = found["cup_contact"].faces
    across = (mesh.element_region[face[:, 0]] == 20) & (face[:, 1] == 0)
    assert across.sum() * 1.5**2 == pytest.approx(made.parts[0].contact_mm2, rel=0.06)
    assert np.isin(mesh.element_region[found["head_cap"].faces[:, 0]], (1, 2, 3)).all()


def test_sets_of_a_vertebra() -> None:
    anatomy = vertebra_anatomy()
    plain = named_sets(voxel_mesh(vertebra(), 1.0, anatomy.frame), anatomy)
    area = np.pi / 4 * WIDTH * DEPTH
    for name, sign in (("superior_face", 1), ("inferior_face", -1)):
        assert plain[name].area_mm2 == pytest.approx(area, rel=0.06)
        made = vertebra_anatomy()
        mesh = voxel_mesh(vertebra(), 1.0, made.frame)
        z = sign * ((mesh.nodes_mm[plain[name].nodes] - CENTRE) @ TURN)[:, 2]
        assert z.min() > HEIGHT / 2 - 3.1


def test_bad_input_is_refused() -> None:
    anatomy = femur_anatomy()
    with pytest.raises(InputError, match="half_angle"):
        with_head_cup(femur(), anatomy, half_angle_deg=120)
    with pytest.raises(InputError, match="thickness_mm"):
        with_head_cup(femur(), anatomy, thickness_mm=0.1)
    with pytest.raises(InputError, match=r"label 20 .*in use"):
        with_head_cup(with_head_cup(femur(), anatomy).labels, anatomy)
    with pytest.raises(InputError, match=r"touch only .*belong together"):
        with_head_cup(femur(), replace(anatomy, head_centre_mm=CENTRE - 60 * TURN[:, 0]))
    with pytest.raises(InputError, match="three numbers"):
        with_head_cup(femur(), anatomy, direction=(0, 0, 0))
    with pytest.raises(InputError, match="intrusion"):
        with_trochanter_pad(femur(), anatomy, intrusion_mm=0)
    made = with_head_cup(femur(), anatomy)
    with pytest.raises(InputError, match=r"no element of the cup.*regions"):
        named_sets(voxel_mesh(made.labels, 2.0, anatomy.frame), anatomy, made.parts)
    assert not set(PARTS) & set(REGIONS)
