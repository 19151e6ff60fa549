from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.landmark import Landmark
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import CapMotion
from bonekit.fem.model import Solution
from bonekit.image import Grid, LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import REGIONS, Finding, Segmentation
from bonekit.storage import (
    load_mesh,
    load_segmentation,
    load_solution,
    plain,
    save_mesh,
    save_segmentation,
    save_solution,
)

RANDOM = np.random.default_rng(5)
TURNED = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
GRID = Grid.of((5, 4, 3), (0.7, 0.9, 1.25), (-10.0, 20.0, 33.3), TURNED)
FIELD = Grid.of((50, 40, 30), (0.7, 0.9, 1.25), (-30.0, 0.0, 13.3), TURNED)


def vector() -> np.ndarray:
    return RANDOM.normal(size=3)


LANDMARKS = (
    Landmark("head_centre", vector(), 0.3, 0.9, "sphere", given=True),
    Landmark.missing("lesser_trochanter", "not in view"),
)
FEMUR = FemurAnatomy(
    "right", vector(), 23.1, vector(), vector(), vector(), 3.0, 90.0, 512.5, 0.4, LANDMARKS
)


def vertebra_anatomy() -> VertebraAnatomy:
    """Any numbers, by the types of the fields."""
    fields = VertebraAnatomy.__dataclass_fields__
    values = {k: vector() if "Float" in str(f.type) else 12.25 for k, f in fields.items()}
    return VertebraAnatomy(**values | {"level": "L3", "landmarks": LANDMARKS})


def assert_same(a: object, b: object) -> None:
    assert type(a) is type(b)
    assert vars(a).keys() == vars(b).keys()
    for name, value in vars(a).items():
        if name == "landmarks":
            for one, other in zip(value, vars(b)[name], strict=True):
                assert_same(one, other)
        else:
            assert_array_equal(value, vars(b)[name], err_msg=name)


@pytest.mark.parametrize(
    ("bone", "anatomy"), [("femur_right", FEMUR), ("vertebra_L3", vertebra_anatomy())]
)
def test_segmentation_comes_back(
    tmp_path: Path, bone: str, anatomy: FemurAnatomy | VertebraAnatomy
) -> None:
    array = RANDOM.choice([0, 1, 2, 3], GRID.shape).astype(np.uint8)
    findings = (Finding("warning", "head-cut", "12 % lie outside"), Finding("note", "a", "ü"))
    made = Segmentation(
        bone,
        LabelMap(array, GRID, dict(REGIONS)),
        anatomy,
        findings,
        {"volume_ml": np.float64(161.2)},
        "by hand",
    )
    save_segmentation(tmp_path, made, FIELD)
    again, field = load_segmentation(tmp_path)
    assert_array_equal(again.labels.array, array)
    assert dict(again.labels.names) == dict(REGIONS)
    np.testing.assert_allclose(again.labels.grid.affine, GRID.affine, atol=1e-5)
    assert_same(again.anatomy, anatomy)
    assert (again.bone, again.findings, again.method) == (bone, findings, "by hand")
    assert again.measures == {"volume_ml": 161.2}
    assert field.shape == FIELD.shape
    assert_array_equal(field.affine, FIELD.affine)


def test_folder_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "segmentation.json").write_text('{"bone": "femur_left", "anatomy": {}}')
    with pytest.raises(InputError, match="earlier bonekit"):
        load_segmentation(tmp_path)


def test_mesh_comes_back(tmp_path: Path) -> None:
    region = RANDOM.choice([0, 1, 3], GRID.shape).astype(np.uint8)
    cubes = Grid.of(GRID.shape, 1.5, (1.0, 2.0, 3.0), TURNED)
    mesh = VoxelMesh(region, cubes, {1: "cortex", 3: "lesion"}, 5)
    save_mesh(tmp_path / "model.npz", mesh)
    again = load_mesh(tmp_path / "model.npz")
    assert_array_equal(again.region, region)
    assert_array_equal(again.grid.affine, cubes.affine)
    assert dict(again.names) == {1: "cortex", 3: "lesion"}
    assert again.n_removed == 5


def test_solution_comes_back_with_its_reactions(tmp_path: Path) -> None:
    made = Solution(
        displacement_mm=RANDOM.normal(size=(7, 3)),
        strain=RANDOM.normal(size=(4, 6)),
        sed_MPa=RANDOM.random(4),
        reaction_N={"distal_shaft": vector(), "head": vector()},
        energy_Nmm=12.5,
        residual=1e-9,
        force_balance=2e-10,
        energy_balance=3e-11,
        iterations=17,
        history=(1.0, 1e-4, 1e-9),
        caps={"cup": CapMotion(vector(), vector(), vector(), vector())},
    )
    save_solution(tmp_path / "solution.npz", made)
    again = load_solution(tmp_path / "solution.npz")
    assert again.reaction_N.keys() == made.reaction_N.keys()
    for name, force in made.reaction_N.items():
        assert_array_equal(again.reaction_N[name], force)
    assert again.history == made.history
    assert again.caps.keys() == made.caps.keys()
    for part, value in vars(made.caps["cup"]).items():
        assert_array_equal(vars(again.caps["cup"])[part], value, err_msg=part)
    for name in vars(made).keys() - {"reaction_N", "caps", "history"}:
        assert_array_equal(vars(again)[name], vars(made)[name], err_msg=name)
    assert isinstance(again.iterations, int)


def test_files_hold_no_pickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", region=np.array([{"a": 1}], dtype=object))
    with pytest.raises((ValueError, KeyError)):
        load_mesh(tmp_path / "model.npz")


def test_plain_turns_numpy_into_json() -> None:
    content = {1: (np.float32(0.5), np.arange(2)), "b": [np.bool_(True), None, "c"]}
    assert plain(content) == {"1": [0.5, [0, 1]], "b": [True, None, "c"]}
