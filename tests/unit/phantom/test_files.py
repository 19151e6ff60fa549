"""Phantoms on disk come back as they were."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bonekit.image import read, read_labels
from bonekit.phantom import Phantom, ScannerParameters, vertebra_phantom, write_phantom


@pytest.fixture(scope="module")
def made() -> Phantom:
    scanner = ScannerParameters(spacing_mm=(2.5, 2.0, 4.0), rotation_deg=(0, 10, 0))
    return vertebra_phantom(scanner=scanner)


def test_nifti_round_trip(made: Phantom, tmp_path: Path) -> None:
    ct = write_phantom(made, tmp_path / "new" / "case")
    assert ct.name == "ct.nii.gz"
    back = read(ct)
    assert (back.array == made.ct.array).all()
    assert back.grid.same_as(made.ct.grid)
    labels = read_labels(ct.parent / "labels.nii.gz")
    assert (labels.mask("cortex") == made.labels.mask("cortex")).all()
    assert_allclose(read(ct.parent / "density.nii.gz").array, made.density.array, atol=1e-6)
    truth = json.loads((ct.parent / "truth.json").read_text())
    assert truth["body_centre_mm"] == [0, 0, 0]
    assert truth["hu_per_g_cm3"] == made.hu_per_g_cm3
    assert truth["parameters"]["scanner"]["kernel"] == "soft"


def test_dicom_round_trip(made: Phantom, tmp_path: Path) -> None:
    folder = write_phantom(made, tmp_path, dicom=True)
    assert len(list(folder.iterdir())) == made.ct.shape[2]
    back = read(folder)
    grid = back.grid
    index = np.rint(made.ct.grid.index(grid.points())).astype(int)
    assert_allclose(made.ct.grid.world(index), grid.points(), atol=1e-3)
    assert (made.ct.array[tuple(np.moveaxis(index, -1, 0))] == back.array).all()
    assert not (tmp_path / "ct.nii.gz").exists()
