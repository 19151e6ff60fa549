"""Vertebrae of a label map of 3 mm voxels, drawn by another program."""

import numpy as np
import pytest

from bonekit.anatomy.find import find_vertebra
from bonekit.errors import InputError
from bonekit.image import read_labels
from bonekit.segmentation.landmarks import findings_of


@pytest.mark.parametrize(("level", "value"), [("L1", 88), ("L4", 91)])
def test_heights_and_pedicles_of_healthy_bodies(data, level: str, value: int) -> None:
    labels = read_labels(data / "ct-pelvis-spine" / "example_ct_labels_v1.nii.gz")
    found = find_vertebra(np.asarray(labels.array == value), labels.grid)
    assert -found.anterior[1] > 0.9
    assert all(20.0 < height < 36.0 for height in found.heights_mm)
    left, right = (found.landmark_mm(f"{side}_pedicle") for side in ("left", "right"))
    assert 18.0 < (left - right) @ found.frame[:, 0] < 45.0
    # L4 is a fifth lower behind than in front, and no fracture
    assert "vertebra-deformed" not in [finding.code for finding in findings_of(found)]


def test_a_sliver_at_the_border_is_refused_for_what_it_is(data) -> None:
    labels = read_labels(data / "ct-pelvis-spine" / "example_ct_labels_v1.nii.gz")
    with pytest.raises(InputError, match="border cuts the vertebra: 51% of its voxels"):
        find_vertebra(np.asarray(labels.array == 95), labels.grid)  # T11
