"""The cortex of a patient's femur: no truth, but sizes that anatomy books give."""

from pathlib import Path

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.cortex import correct, cortical_map
from bonekit.density import density_image
from bonekit.image import read
from bonekit.segmentation.baseline import segment


@pytest.mark.slow
def test_cortex_of_a_patient(data: Path) -> None:
    ct = read(data / "ct-femur" / "STS_040_CT.nii.gz").canonical()
    found = segment(ct, "femur_right")
    assert isinstance(found.anatomy, FemurAnatomy)
    density = density_image(ct)
    cortex = cortical_map(density, found.labels, spacing_mm=3.0)
    assert cortex.ok.mean() > 0.8  # the rest lies in the joint, a voxel from the pelvis
    assert 1.4 < cortex.psf_fwhm_mm < 2.0
    body = found.anatomy
    height = (cortex.points_mm - body.shaft_point_mm) @ np.asarray(body.shaft_axis)
    head = np.asarray(body.head_centre_mm)
    axis = (np.asarray(body.shaft_point_mm) - head) @ np.asarray(body.neck_axis)
    along = (cortex.points_mm - head) @ np.asarray(body.neck_axis) * np.sign(axis)
    neck = (along > 0.7 * body.head_radius_mm) & (along < body.head_radius_mm + 18)
    shaft = height < body.flare_mm
    assert cortex.ok[shaft].mean() > 0.95
    assert 4.0 < np.median(cortex.thickness_mm[shaft & cortex.ok]) < 7.0
    assert 0.5 < np.median(cortex.thickness_mm[neck & ~shaft & cortex.ok]) < 2.0
    balance = correct(density, found.labels, cortex)
    assert 1.03 < balance.mineral_after_g / balance.mineral_before_g < 1.10
    assert balance.unplaced_g < 0.005 * balance.mineral_after_g
