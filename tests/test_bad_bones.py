"""Bones and loads that can't be right, through the command line: refused, or told first of all.

The list is that of issue 6: landmarks outside the image, two bones in one mask, metal, crushed
bodies, wrong sides, loads that miss the bone, patients that can't be, criteria without an answer.
See `test_bad_inputs` for files, case files and label maps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from scipy import ndimage as ndi

from bonekit.anatomy.vertebra import VertebraAnatomy, vertebra_anatomy
from bonekit.image import Image, LabelMap, read, read_labels, write
from bonekit.phantom import ScannerParameters, vertebra_phantom
from bonekit.pipeline import stages

sys.path.insert(0, str(Path(__file__).parent))
from test_bad_inputs import cropped, flat, with_labels

if TYPE_CHECKING:
    from conftest import Patient

Command = Callable[..., tuple[int, str, str]]
Mask = np.ndarray


def labels_of(mask: Mask, like: LabelMap, name: str, path: Path) -> Path:
    write(LabelMap(mask.astype("u1"), like.grid, {1: name}), path)
    return path


def case_with(patient: Patient, tmp: Path, **parts: Any) -> list[object]:
    content = yaml.safe_load(patient.case.read_text()) | parts
    (tmp / "case.yaml").write_text(yaml.safe_dump(content))
    return ["run", patient.ct, "-c", tmp / "case.yaml", "--labels", patient.labels]


def without_out(arguments: list[object]) -> list[object]:
    return [a for a in arguments if a not in ("-o", "OUT")]


def two_bones(patient: Patient, tmp: Path) -> list[object]:
    labels = read_labels(patient.labels)
    mask = labels.array > 0
    room = ndi.distance_transform_edt(np.pad(~mask, 1), sampling=labels.spacing_mm)[
        1:-1, 1:-1, 1:-1
    ]  # to the bone and to the border of the image
    place = labels.grid.world(np.unravel_index(room.argmax(), room.shape))
    away = np.linalg.norm(labels.grid.points() - place, axis=-1)
    ball = away < min(28.0, room.max() - 4.0)
    path = labels_of(mask | ball, labels, "femur_right", tmp / "two.nii.gz")
    return ["run", patient.ct, "-c", patient.case, "--labels", path]


def prosthesis(patient: Patient, tmp: Path) -> list[object]:
    """Metal in place of the head, and no label map."""
    ct, labels = read(patient.ct).canonical(), read_labels(patient.labels)
    bone = labels.resample(ct.grid).array > 0
    top = np.argwhere(bone)[:, 2].max()
    head = bone.copy()
    head[:, :, : int(top - 40 / ct.spacing_mm[2])] = False
    write(ct.with_array(np.where(head, 3000, ct.array).astype(np.int16)), tmp / "ct.nii.gz")
    return ["run", tmp / "ct.nii.gz", "--bone", "femur_right"]


@dataclass(frozen=True)
class Refused:
    """A case that must end with an error that says these words."""

    name: str
    make: Callable[[Patient, Path], list[object]]
    says: tuple[str, ...]


def loaded(**parts: Any) -> Callable[[Patient, Path], list[object]]:
    return lambda patient, tmp: case_with(patient, tmp, **parts)


def asked(*words: str) -> Callable[[Patient, Path], list[object]]:
    return lambda patient, _: [*without_out(with_labels(patient, patient.ct)), *words]


def cut(side: str, mm: float) -> Callable[[Patient, Path], list[object]]:
    def make(patient: Patient, tmp: Path) -> list[object]:
        return without_out(with_labels(patient, cropped(patient, tmp, side, mm)))

    return make


TORSION = {"case": "shaft_torsion"}
CUP = {"case": "single_leg_stance", "head": "cup"}
ACROSS = {"case": "single_leg_stance", "adduction_deg": 120.0}
UPWARDS = {"case": "sideways_fall", "adduction_deg": -90.0}
REFUSED = (
    Refused("head outside", cut("above", 60.0), ("head",)),
    Refused("trochanter outside", cut("lateral", 30.0), ("Use a larger field of view",)),
    Refused("two bones", two_bones, ("the mask falls into 2 pieces", "Check the mask")),
    Refused("prosthesis", prosthesis, ("ml of metal", "prosthesis")),
    Refused("no mass", asked("--load", "stair_climbing"), ("needs the patient's mass in kg",)),
    Refused("mass in g", asked("--mass", "70000"), ("patient.mass_kg", "less than or equal to")),
    Refused("negative mass", asked("--mass", "-70"), ("patient.mass_kg", "found -70")),
    Refused("height in cm", asked("--mass", "70", "--height", "172"), ("patient.height_m", "2.3")),
    Refused("stance from the side", loaded(load=ACROSS), ("adduction_deg", "found 120")),
    Refused("fall from below", loaded(load=UPWARDS), ("adduction_deg", "found -90")),
    Refused("load of a vertebra", asked("--load", "forward_flexion"), ("is for a vertebra",)),
    Refused("no criterion", asked("--criterion", "breaks"), ("criterion 'breaks' is unknown",)),
    Refused(
        "stiffness of a vertebra asked of a femur",
        asked("--criterion", "stiffness_at_strain"),
        ("stiffness_at_strain is for the compression of a vertebra",),
    ),
    Refused(
        "stiffness of a vertebra asked of a second load",
        asked(
            *("--bone", "vertebra_L3", "--criterion", "stiffness_at_strain"),
            *("--load", "endplate_compression", "forward_flexion"),
        ),
        ("stiffness_at_strain is for the compression of a vertebra, not for forward_flexion",),
    ),
    Refused("peak of a torsion", loaded(load=TORSION, criterion="peak"), ("linear criterion",)),
    Refused(
        "finite strain in a cup",
        loaded(load=CUP, criterion="peak", peak={"finite_strain": True}),
        ("criterion peak can't be asked of load single_leg_stance", "head: spread"),
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_bad_femur_or_load_is_refused(
    case: Refused, patient: Patient, tmp_path: Path, command: Command
) -> None:
    code, printed, errors = command(*case.make(patient, tmp_path), "-o", tmp_path / "run")
    assert code == 2, errors
    for words in case.says:
        assert words in flat(errors)
    assert "strength" not in printed
    assert not (tmp_path / "run" / "result.json").exists()


# Vertebrae


@dataclass(frozen=True)
class Spine:
    """A vertebra in a CT, with its mask and its landmarks."""

    ct: Image
    mask: Mask
    name: str
    anatomy: VertebraAnatomy


@pytest.fixture(scope="module")
def spine() -> Spine:
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = vertebra_phantom(scanner=scanner, seed=2)
    ct, labels = made.ct.canonical(), made.labels.canonical()
    mask = labels.mask("cortex", "trabecular")
    return Spine(ct, mask, made.bone, vertebra_anatomy(mask, ct.grid))


def run_of(spine: Spine, tmp: Path, ct: Image, mask: Mask) -> list[object]:
    write(ct, tmp / "ct.nii.gz")
    labels = LabelMap(mask.astype("u1"), spine.ct.grid, {1: spine.name})
    write(labels, tmp / "labels.nii.gz")
    rest = ["--bone", spine.name, "--labels", tmp / "labels.nii.gz", "--edge", "4"]
    return ["run", tmp / "ct.nii.gz", *rest, "-o", tmp / "run"]


def without_endplate(spine: Spine) -> tuple[Image, Mask]:
    last = spine.ct.grid.index(spine.anatomy.superior_centre_mm)[2] - 4.0
    return spine.ct.crop((0, 0, 0), (*spine.ct.shape[:2], int(last))), spine.mask


def two_levels(spine: Spine) -> tuple[Image, Mask]:
    step = round(36.0 / spine.ct.spacing_mm[2])
    return spine.ct, spine.mask | np.roll(spine.mask, step, axis=2)


def screw(spine: Spine) -> tuple[Image, Mask]:
    i, j, k = np.round(spine.ct.grid.index(spine.anatomy.body_centre_mm)).astype(int)
    hu = spine.ct.array.copy()
    hu[i - 1 : i + 2, j - 6 : j + 6, k - 1 : k + 2] = 3000
    return spine.ct.with_array(hu), spine.mask


def wedge(spine: Spine, share: float) -> Mask:
    """Mask of a body that has lost a share of its height in front."""
    local = spine.anatomy.local(spine.ct.grid.points())
    depth, height = spine.anatomy.depth_mm, spine.anatomy.height_mm
    front = np.clip(0.5 - local[..., 1] / depth, 0.0, 1.0)
    over = local[..., 2] > height / 2 - share * height * front
    return np.asarray(spine.mask & ~(over & (local[..., 1] < depth / 2)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (without_endplate, "cuts the vertebral body"),
        (two_levels, "two vertebral bodies"),
        (screw, "ml of metal"),
    ],
)
def test_a_bad_vertebra_is_refused(
    make: Callable[[Spine], tuple[Image, Mask]],
    words: str,
    spine: Spine,
    tmp_path: Path,
    command: Command,
) -> None:
    code, _, errors = command(*run_of(spine, tmp_path, *make(spine)))
    assert code == 2, errors
    assert words in flat(errors)
    assert not (tmp_path / "run" / "result.json").exists()


def first_remark(page: str) -> str:
    """Code of the remark that stands first, before the answer."""
    before = page[: page.index('aria-label="Answer"')]
    return before[before.index("<li class=") :].partition("<code>")[2].partition("</code>")[0]


def test_a_crushed_vertebra_is_told_first_of_all(
    spine: Spine, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))
    arguments = run_of(spine, tmp_path, spine.ct, wedge(spine, 0.45))
    code, _, errors = command(*arguments, "--load", "forward_flexion")
    assert code == 0, errors
    assert "the vertebral body is deformed" in flat(errors)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert first_remark(page) == "vertebra-deformed"


def test_a_head_cut_a_little_is_told_first_of_all(
    patient: Patient, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))
    arguments = without_out(with_labels(patient, cropped(patient, tmp_path, "above", 6.0)))
    code, _, errors = command(*arguments, "--load", "sideways_fall", "-o", tmp_path / "run")
    assert code == 0, errors
    assert "of the femoral head lies outside the image" in flat(errors)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert first_remark(page) == "head-cut"
