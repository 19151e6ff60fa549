"""One femur out of a CT: against the exact truth of phantoms, and on real scans."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage as ndi

from bonekit.errors import InputError
from bonekit.image import from_sitk
from bonekit.image.volume import Grid, Image, LabelMap
from bonekit.phantom import (
    FemurParameters,
    LesionParameters,
    Phantom,
    ScannerParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation import Segmentation, baseline
from bonekit.segmentation.baseline import from_labels, segment
from bonekit.segmentation.femur import FemurMask, segment_femora

SCANNER = ScannerParameters(spacing_mm=(1.3, 1.3, 2.5), noise_hu=20.0)
COARSE = ScannerParameters(spacing_mm=(1.6, 1.6, 3.0), noise_hu=10.0)
LIMBS = {
    "left": (FemurParameters(shaft_length_mm=50.0), SCANNER),
    "right, flexed, noisy": (
        FemurParameters(
            side="right",
            flexion_deg=35.0,
            adduction_deg=10.0,
            external_rotation_deg=15.0,
            shaft_length_mm=50.0,
        ),
        replace(SCANNER, noise_hu=40.0, kernel="sharp"),
    ),
    "small, oblique, flipped": (
        FemurParameters(
            side="right",
            head_radius_mm=20.5,
            neck_length_mm=46.0,
            neck_radius_mm=13.0,
            shaft_radius_mm=12.0,
            shaft_cortex_mm=4.0,
            shaft_length_mm=50.0,
        ),
        replace(SCANNER, rotation_deg=(15.0, -10.0, 20.0), flip=(True, True, False)),
    ),
}


@dataclass(frozen=True)
class Made:
    """A phantom in canonical axes and what was found in it."""

    phantom: Phantom
    ct: Image
    truth: LabelMap
    found: Segmentation

    @property
    def femur(self) -> np.ndarray:
        return self.truth.mask("cortex", "trabecular", "lesion")


@cache
def made(limb: str) -> Made:
    phantom = femur_phantom(LIMBS[limb][0], scanner=LIMBS[limb][1], seed=2)
    ct = phantom.ct.canonical()
    return Made(phantom, ct, phantom.labels.canonical(), segment(ct))


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def degrees(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(np.dot(one, two), -1.0, 1.0))))


def codes(segmentation: Segmentation, *severity: str) -> list[str]:
    return sorted(f.code for f in segmentation.findings if f.severity in severity)


all_limbs = pytest.mark.parametrize("limb", LIMBS)


@all_limbs
def test_the_mask_is_the_femur_alone_and_in_one_piece(limb: str) -> None:
    m = made(limb)
    mask = m.found.bone_mask
    assert dice(mask, m.femur) > 0.97  # measured 0.981, 0.978, 0.979
    assert np.count_nonzero(mask & m.truth.mask("other_bone")) < 0.002 * np.count_nonzero(mask)
    assert ndi.label(mask)[1] == 1
    assert codes(m.found, "error", "warning") == []


@all_limbs
def test_the_canal_is_filled(limb: str) -> None:
    m = made(limb)
    axis, end = (np.array(m.phantom.truth[n]) for n in ("shaft_axis", "shaft_end_mm"))
    line = end + np.linspace(8.0, 50.0, 50)[:, None] * axis
    index = np.rint(m.ct.grid.index(line)).astype(int)
    assert (m.ct.array[tuple(index.T)] < 100).mean() > 0.5  # marrow all right
    assert m.found.bone_mask[tuple(index.T)].all()


@all_limbs
def test_head_side_and_axes(limb: str) -> None:
    m = made(limb)
    truth, anatomy = m.phantom.truth, m.found.anatomy
    assert m.found.bone == m.phantom.bone == f"femur_{anatomy.side}"
    assert np.linalg.norm(anatomy.head_centre_mm - truth["head_centre_mm"]) < 0.5  # measured 0.2
    assert anatomy.head_radius_mm == pytest.approx(truth["head_radius_mm"], abs=0.8)  # +0.5
    assert degrees(anatomy.shaft_axis, truth["shaft_axis"]) < 0.5  # measured 0.1
    assert degrees(anatomy.neck_axis, -np.array(truth["neck_axis"])) < 1.5  # measured 0.4
    assert anatomy.neck_shaft_angle_deg == pytest.approx(truth["neck_shaft_angle_deg"], abs=1.5)


@all_limbs
def test_measures_say_what_was_found(limb: str) -> None:
    m = made(limb)
    measures = m.found.measures
    exact_ml = m.phantom.truth["bone_volume_mm3"] / 1000.0
    assert measures["volume_ml"] == pytest.approx(exact_ml, rel=0.05)  # measured 2 to 4 % more
    assert measures["head_visible"] == 1.0
    assert measures["lesion_ml"] == 0.0
    assert measures["shaft_length_mm"] > 40.0
    assert m.found.method.startswith("bonekit CT baseline 1")
    assert codes(m.found, "note") == ["shaft-length"]


@pytest.fixture(scope="module")
def coarse() -> Phantom:
    return femur_phantom(scanner=COARSE)


def near_head(phantom: Phantom, x_mm: float | None, z_mm: float | None = None) -> np.ndarray:
    """Index of a point beside or below the head's centre; 0 where not asked for."""
    place = np.add(phantom.truth["head_centre_mm"], [x_mm or 0.0, 0.0, z_mm or 0.0])
    index = np.rint(phantom.ct.grid.index(place)).astype(int)
    return np.where([x_mm is not None, False, z_mm is not None], index, 0)


def test_a_head_cut_by_the_field_of_view_is_warned_of(coarse: Phantom) -> None:
    found = segment(coarse.ct.crop(near_head(coarse, -10.0), coarse.ct.shape))
    assert found.bone == "femur_left"
    assert codes(found, "error", "warning") == ["head-cut"]
    assert found.measures["head_visible"] == pytest.approx(0.80, abs=0.05)
    centre = coarse.truth["head_centre_mm"]
    assert np.linalg.norm(found.anatomy.head_centre_mm - centre) < 2.0


def test_a_cut_trochanter_is_an_error(coarse: Phantom) -> None:
    stop = np.array(coarse.ct.shape)
    stop[0] = near_head(coarse, 52.0)[0]
    found = segment(coarse.ct.crop((0, 0, 0), stop))
    assert "trochanter-cut" in codes(found, "error")


def test_a_femur_cut_below_the_trochanters_is_warned_of(coarse: Phantom) -> None:
    found = segment(coarse.ct.crop(near_head(coarse, None, -82.0), coarse.ct.shape))
    assert codes(found, "error", "warning") == ["shaft-short"]
    assert found.measures["shaft_length_mm"] == 0.0


def test_a_shaft_without_a_head_is_refused(coarse: Phantom) -> None:
    stop = np.array(coarse.ct.shape)
    stop[2] = near_head(coarse, None, -60.0)[2]
    with pytest.raises(InputError, match="no femur with a femoral head was found; in view: no fe"):
        segment(coarse.ct.crop((0, 0, 0), stop))


def test_an_image_that_is_no_ct_is_refused(coarse: Phantom) -> None:
    mri = coarse.ct.with_array(np.abs(coarse.ct.array) // 3)
    with pytest.raises(InputError, match="not a CT in HU"):
        segment(mri)
    with pytest.raises(InputError, match="not a CT in HU"):
        from_labels(mri, coarse.labels, "femur_left")


@pytest.fixture(scope="module")
def femora(coarse: Phantom) -> list[FemurMask]:
    return segment_femora(coarse.ct)


@pytest.fixture
def quick(femora: list[FemurMask], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the search, whose answer is known."""
    monkeypatch.setattr(baseline, "segment_femora", lambda ct: femora)


def nailed(phantom: Phantom) -> Image:
    """Steel rod of 5 mm radius in the upper shaft."""
    end, axis = (np.array(phantom.truth[n]) for n in ("shaft_end_mm", "shaft_axis"))
    away = phantom.ct.grid.points() - end
    along = away @ axis
    rod = np.linalg.norm(away - along[..., None] * axis, axis=-1) < 5.0
    hu = phantom.ct.array.copy()
    hu[rod & (along > 30) & (along < 90)] = 3071
    return phantom.ct.with_array(hu)


@pytest.mark.usefixtures("quick")
def test_metal_is_an_error_unless_it_is_allowed(coarse: Phantom) -> None:
    ct = nailed(coarse)
    refused = segment(ct)
    assert [f.code for f in refused.errors] == ["metal"]
    assert "4." in refused.errors[0].message  # ml
    assert "--allow-metal" in refused.errors[0].message
    allowed = segment(ct, allow_metal=True)
    nail = ct.array == 3071
    assert nail.sum() * ct.grid.voxel_mm3 == pytest.approx(4700, rel=0.1)
    assert allowed.bone_mask[nail].mean() > 0.98  # no hole in the bone
    assert allowed.errors == ()
    assert codes(allowed, "warning") == ["metal"]


def test_a_prosthesis_in_place_of_the_head_is_named(coarse: Phantom, monkeypatch) -> None:
    monkeypatch.setattr(baseline, "segment_femora", lambda ct: [])
    with pytest.raises(InputError, match=r"holds 4\.\d ml of metal .above 2500 HU.: a prosthesis"):
        segment(nailed(coarse), "femur_left")


@pytest.mark.usefixtures("quick")
def test_bones_are_called_by_their_name(coarse: Phantom) -> None:
    with pytest.raises(InputError, match="'femur' is unknown; allowed: femur_left, femur_right"):
        segment(coarse.ct, "femur")
    with pytest.raises(InputError, match=r"no femur_right with .* in view: femur_left"):
        segment(coarse.ct, "femur_right")


def test_one_of_two_femora_must_be_named(coarse: Phantom, femora, monkeypatch) -> None:
    both = [replace(femora[0], side="right"), femora[0]]
    monkeypatch.setattr(baseline, "segment_femora", lambda ct: both)
    with pytest.raises(InputError, match="several bones are in view: femur_left, femur_right"):
        segment(coarse.ct)
    assert segment(coarse.ct, "femur_left").bone == "femur_left"


@pytest.mark.usefixtures("quick")
def test_a_drawn_lesion_is_kept_and_no_candidate(coarse: Phantom) -> None:
    place = np.add(coarse.truth["head_centre_mm"], [30.0, 0.0, -25.0])
    drawn = np.linalg.norm(coarse.ct.grid.points() - place, axis=-1) < 9.0
    found = segment(coarse.ct, lesion=drawn)
    np.testing.assert_array_equal(found.labels.mask("lesion"), drawn & found.bone_mask)
    assert found.measures["lesion_ml"] == pytest.approx(3.05, rel=0.1)
    assert "lesion-candidate" not in codes(found, "note")


def test_a_lytic_focus_is_pointed_out() -> None:
    lesion = LesionParameters(site="head", radii_mm=(9.0, 9.0, 9.0), lytic_g_cm3=0.06)
    phantom = femur_phantom(lesion=lesion, scanner=COARSE)
    found = from_labels(phantom.ct, one_label(phantom), "femur_left")
    assert "lesion-candidate" in codes(found, "note")
    seen = found.labels.mask("lesion")
    assert dice(seen, phantom.labels.mask("lesion")) > 0.5


def one_label(phantom: Phantom, value: int = 1, name: str = "femur_left") -> LabelMap:
    mask = phantom.labels.mask("cortex", "trabecular", "lesion")
    return LabelMap((value * mask).astype(np.uint8), phantom.ct.grid, {value: name})


@pytest.fixture(scope="module")
def multilabel(coarse: Phantom) -> LabelMap:
    """Label map with the names and values of TotalSegmentator."""
    array = np.zeros(coarse.ct.shape, dtype=np.uint8)
    array[coarse.labels.mask("cortex", "trabecular")] = 75
    array[coarse.labels.mask("other_bone")] = 77
    names = {75: "femur_left", 76: "femur_right", 77: "hip_left"}
    return LabelMap(array, coarse.ct.grid, names)


@pytest.mark.parametrize("label", [None, 75, "75", "femur_left"])
def test_a_label_map_of_totalsegmentator(coarse: Phantom, multilabel: LabelMap, label) -> None:
    found = from_labels(coarse.ct, multilabel, "femur_left", label)
    np.testing.assert_array_equal(found.bone_mask, multilabel.array == 75)
    assert found.method == "imported label map"
    assert codes(found, "error", "warning") == []
    assert found.labels.mask("other_bone").sum() > 1000
    anatomy, truth = found.anatomy, coarse.truth
    assert np.linalg.norm(anatomy.head_centre_mm - truth["head_centre_mm"]) < 1.0
    assert anatomy.head_radius_mm == pytest.approx(truth["head_radius_mm"], abs=1.0)


@pytest.mark.usefixtures("quick")
def test_a_map_that_bonekit_wrote_comes_back_with_its_lesion(coarse: Phantom) -> None:
    place = np.add(coarse.truth["head_centre_mm"], [30.0, 0.0, -25.0])
    drawn = np.linalg.norm(coarse.ct.grid.points() - place, axis=-1) < 9.0
    first = segment(coarse.ct, lesion=drawn)
    again = from_labels(coarse.ct, first.labels, "femur_left")
    np.testing.assert_array_equal(again.bone_mask, first.bone_mask)
    np.testing.assert_array_equal(again.labels.mask("lesion"), first.labels.mask("lesion"))
    assert "lesion-candidate" not in codes(again, "note")


def test_a_label_map_on_another_grid(coarse: Phantom, multilabel: LabelMap) -> None:
    fine = Grid.of(tuple(2 * n for n in coarse.ct.shape), coarse.ct.spacing_mm / 2,
                   coarse.ct.grid.world([-0.25] * 3))  # fmt: skip
    found = from_labels(coarse.ct, multilabel.resample(fine), "femur_left")
    assert found.labels.grid.same_as(coarse.ct.grid)
    assert dice(found.bone_mask, multilabel.array == 75) > 0.999


def test_a_mask_without_names_needs_none(coarse: Phantom, multilabel: LabelMap) -> None:
    plain = LabelMap((multilabel.array == 75).astype(np.uint8), multilabel.grid)
    assert from_labels(coarse.ct, plain, "femur_left").bone_mask.sum() == plain.array.sum()


def test_a_missing_name_lists_what_is_there(coarse: Phantom, multilabel: LabelMap) -> None:
    with pytest.raises(InputError, match=r"like vertebra_L3 \(vertebra_L3, vertebrae_L3, L3\); "
                       "present: 75 femur_left, 76 femur_right, 77 hip_left"):  # fmt: skip
        from_labels(coarse.ct, multilabel, "vertebra_L3")
    with pytest.raises(InputError, match="'femur' not found; present: 75 femur_left"):
        from_labels(coarse.ct, multilabel, "femur_left", "femur")
    nameless = LabelMap(multilabel.array, multilabel.grid)
    with pytest.raises(InputError, match="present: no names"):
        from_labels(coarse.ct, nameless, "femur_left")


@pytest.mark.parametrize(
    ("bone", "name"),
    [("vertebra_L3", "vertebrae_L3"), ("vertebra_T12", "T12"), ("femur_left", "femur_left")],
)
def test_usual_names_are_known(bone: str, name: str) -> None:
    labels = LabelMap(np.zeros((1, 1, 1), np.uint8), Grid.of((1, 1, 1), 1.0), {4: "x", 29: name})
    assert baseline._label_value(labels, bone, None) == 29


def test_an_empty_label_and_one_from_elsewhere_are_refused(coarse: Phantom, multilabel) -> None:
    with pytest.raises(InputError, match=r"label 76 .femur_right. has 0 voxels on the CT"):
        from_labels(coarse.ct, multilabel, "femur_right")
    shifted = Grid.of(multilabel.shape, multilabel.spacing_mm, multilabel.grid.origin_mm + 500.0)
    with pytest.raises(InputError, match="lies elsewhere in the world"):
        from_labels(coarse.ct, LabelMap(multilabel.array, shifted, multilabel.names), "femur_left")


def test_a_mask_in_pieces_keeps_the_largest(coarse: Phantom, multilabel: LabelMap) -> None:
    array = multilabel.array.copy()
    k = int(near_head(coarse, None, -120.0)[2])
    array[:, :, k : k + 2] = 0  # the shaft is severed
    found = from_labels(coarse.ct, multilabel.with_array(array), "femur_left")
    assert {"pieces"} <= set(codes(found, "error", "warning"))
    assert ndi.label(found.bone_mask)[1] == 1
    assert not found.bone_mask[:, :, :k].any()


def test_the_wrong_side_is_an_error(coarse: Phantom, multilabel: LabelMap) -> None:
    found = from_labels(coarse.ct, multilabel, "femur_right", 75)
    assert [f.code for f in found.errors] == ["side"]
    mirrored = (volume.with_array(volume.array[::-1]) for volume in (coarse.ct, multilabel))
    assert [f.code for f in from_labels(*mirrored, "femur_left").errors] == ["side"]


def read(path: Path) -> Image:
    return from_sitk(sitk.ReadImage(str(path))).canonical()


@pytest.mark.slow
@pytest.mark.parametrize(("case", "warnings"), [("STS_040", []), ("STS_015", ["head-cut"])])
def test_real_right_femora(data: Path, case: str, warnings: list[str]) -> None:
    """Nobody has drawn these bones: sizes of adults, and what is seen on the images."""
    found = segment(read(data / "ct-femur" / f"{case}_CT.nii.gz"))
    assert found.bone == "femur_right"
    assert codes(found, "error") == []
    assert codes(found, "warning") == warnings
    anatomy = found.anatomy
    assert 19.0 < anatomy.head_radius_mm < 26.0
    assert 120.0 < anatomy.neck_shaft_angle_deg < 140.0
    assert 30.0 < anatomy.offset_mm < 55.0
    assert 130.0 < found.measures["volume_ml"] < 190.0
    assert (found.measures["head_visible"] < 0.9) == (case == "STS_015")
    assert ndi.label(found.bone_mask)[1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", ["STS_001", "STS_013"])
def test_real_thighs_without_a_head_are_refused(data: Path, case: str) -> None:
    with pytest.raises(InputError, match="no femur with a femoral head was found"):
        segment(read(data / "ct-femur" / f"{case}_CT.nii.gz"))


@pytest.mark.slow
def test_a_real_pelvis_with_an_implant(data: Path, monkeypatch) -> None:
    ct = read(data / "ct-pelvis-spine" / "example_ct.nii.gz")  # cut below the trochanters
    femora = segment_femora(ct)
    assert {f.side for f in femora} == {"left", "right"}
    monkeypatch.setattr(baseline, "segment_femora", lambda ct: femora)
    left, right = segment(ct, "femur_left"), segment(ct, "femur_right")
    assert [f.code for f in left.errors] == ["metal"]
    assert right.errors == ()
    assert codes(right, "warning") == ["shaft-short"]
    assert 19.0 < right.anatomy.head_radius_mm < 27.0
    theirs = sitk.ReadImage(str(data / "ct-pelvis-spine" / "example_ct_labels_v1.nii.gz"))
    femur = from_sitk(theirs).canonical().array == 14  # another model's label: 0.915
    assert dice(right.bone_mask, femur) > 0.9  # 0.87 where the cut trochanter stays open


def test_a_real_mri_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match="MRI"):
        segment(read(data / "ct-femur" / "STS_015_MR_T1.nii.gz"))


def test_an_imported_vertebra_of_odd_size_is_warned_of() -> None:
    phantom = vertebra_phantom(scanner=ScannerParameters(spacing_mm=(1.5, 1.5, 2.0)))
    ct, bone = phantom.ct.canonical(), phantom.labels.canonical()
    body = bone.mask("cortex", "trabecular").astype(np.uint8)
    usual = from_labels(ct, LabelMap(body, ct.grid, {1: "vertebrae_L3"}), "vertebra_L3")
    assert codes(usual, "warning") == []
    half = Grid.of(ct.shape, 0.6 * ct.spacing_mm, ct.grid.origin_mm, ct.grid.direction)
    small = from_labels(
        Image(ct.array, half), LabelMap(body, half, {1: "vertebrae_L3"}), "vertebra_L3"
    )
    assert "volume" in codes(small, "warning")
