"""The rule-based vertebra: exact truth on a phantom, another method's labels on real scans."""

import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import from_sitk
from bonekit.image.volume import Image, LabelMap
from bonekit.phantom import Phantom, ScannerParameters, VertebraParameters, vertebra_phantom
from bonekit.segmentation.vertebra import segment_vertebra_mask


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def read(path) -> Image:
    return from_sitk(sitk.ReadImage(str(path))).canonical()


@pytest.fixture(scope="module")
def made() -> Phantom:
    return vertebra_phantom(VertebraParameters(tilt_deg=10.0), scanner=ScannerParameters())


def bone_of(labels: LabelMap) -> np.ndarray:
    return labels.mask("cortex", "trabecular", "lesion")


def test_phantom_is_found_with_canal_open_and_marrow_filled(made: Phantom) -> None:
    truth = bone_of(made.labels)
    mask, findings, measures, other = segment_vertebra_mask(made.ct, "L3")
    assert dice(mask, truth) > 0.92  # measured 0.94
    assert [f.code for f in findings] == ["level-unverified"]
    assert measures["volume_ml"] == pytest.approx(
        np.count_nonzero(truth) * made.ct.grid.voxel_mm3 / 1000.0, rel=0.08
    )
    assert not (mask & other).any()
    neighbours = made.labels.mask("other_bone")
    assert np.count_nonzero(mask & neighbours) < 0.02 * np.count_nonzero(mask)
    canal = made.ct.grid.index(made.truth["canal_centre_mm"]).round().astype(int)
    centre = made.ct.grid.index(made.truth["body_centre_mm"]).round().astype(int)
    assert mask[tuple(centre)]
    assert not mask[tuple(canal)]


def test_answer_is_the_same_twice(made: Phantom) -> None:
    first, *_ = segment_vertebra_mask(made.ct, "L3")
    again, *_ = segment_vertebra_mask(made.ct, "L3")
    assert np.array_equal(first, again)


def test_cut_vertebra_is_an_error(made: Phantom) -> None:
    k = int(made.ct.grid.index(made.truth["body_centre_mm"])[2])
    cut = made.ct.crop((0, 0, 0), (*made.ct.shape[:2], k + 4))
    _, findings, *_ = segment_vertebra_mask(cut, "L3", seed_mm=made.truth["body_centre_mm"])
    assert ("error", "vertebra-cut") in [(f.severity, f.code) for f in findings]


def test_soft_tissue_alone_has_no_canal(made: Phantom) -> None:
    with pytest.raises(InputError, match="no spinal canal"):
        segment_vertebra_mask(made.ct.with_array(np.minimum(made.ct.array, 60)), "L3")


def test_crop_of_a_noisy_scan(data) -> None:
    folder = data / "ct-vertebra"
    ct = read(folder / "sub-ct_label-22_ct.nii.gz")
    labels = read(folder / "sub-ct_seg-vert_label-22_msk.nii.gz").array
    mask, findings, measures, _ = segment_vertebra_mask(ct, "L3")
    assert dice(mask, labels == 22) > 0.87  # measured 0.888
    assert np.count_nonzero(mask & np.isin(labels, (21, 23))) < 0.03 * np.count_nonzero(mask)
    assert [(f.severity, f.code) for f in findings] == [("warning", "level-unverified")]
    assert measures["body_height_mm"] == pytest.approx(26.0, abs=2.0)


# Measured 0.912, 0.901, 0.865 (the lowest facets of L5 lie against the sacrum).
@pytest.mark.parametrize(("level", "label", "least"), [("L3", 90, 0.90), ("L5", 92, 0.85)])
def test_levels_are_counted_from_the_sacrum(data, level: str, label: int, least: float) -> None:
    folder = data / "ct-pelvis-spine"
    ct = read(folder / "example_ct.nii.gz")
    truth = read(folder / "example_ct_labels_v1.nii.gz").array == label
    mask, findings, *_ = segment_vertebra_mask(ct, level)
    assert dice(mask, truth) > least
    assert [f.code for f in findings] == ["level-counted"]


def test_what_can_not_be_named_is_refused_or_seeded(data) -> None:
    folder = data / "ct-pelvis-spine"
    ct, labels = read(folder / "example_ct.nii.gz"), read(folder / "example_ct_labels_v1.nii.gz")
    with pytest.raises(InputError, match="T10 is not in this CT; counted from the sacrum: L5, L4"):
        segment_vertebra_mask(ct, "T10")
    lumbar = ct.crop((20, 20, 62), (105, 101, ct.shape[2]))  # without the sacrum
    with pytest.raises(InputError, match="complete vertebrae and no sacrum"):
        segment_vertebra_mask(lumbar, "L2")
    truth = labels.crop((20, 20, 62), (105, 101, ct.shape[2])).array == 89
    seed = lumbar.grid.world(np.argwhere(truth)).mean(axis=0) - np.array([0, 20, 0])
    mask, findings, *_ = segment_vertebra_mask(lumbar, "L2", seed_mm=seed)
    assert dice(mask, truth) > 0.87
    assert [f.code for f in findings] == ["level-unverified"]
    with pytest.raises(InputError, match="from the nearest"):
        segment_vertebra_mask(lumbar, "L2", seed_mm=seed + np.array([80, 0, 0]))
