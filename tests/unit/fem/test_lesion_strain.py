"""Strain at a lesion beside that of the intact bone, on a coarse vertebra."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from bonekit.anatomy.vertebra import vertebra_anatomy
from bonekit.errors import InputError
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.lesion_strain import lesion_strain_fold
from bonekit.fem.model import Solution
from bonekit.fem.simulation import Problem, set_up, solve_problem
from bonekit.lesions import carve
from bonekit.meshing.bone import bone_mesh
from bonekit.phantom import ScannerParameters, vertebra_phantom
from bonekit.segmentation.base import Segmentation


@cache
def problem(radius_mm: float, strain: float = 0.01, edge_mm: float = 3.0) -> Problem:
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = vertebra_phantom(scanner=scanner, seed=1)
    anatomy = vertebra_anatomy(made.labels.mask("cortex", "trabecular"), made.ct.grid)
    bone, ash = Segmentation(made.bone, made.labels, anatomy), made.density
    if radius_mm:
        bone, ash = carve(bone, ash, anatomy.body_centre_mm, radius_mm)
    mesh = bone_mesh(bone, edge_mm)
    return set_up(mesh, ash, bone, loading=EndplateCompression(strain=strain))


@cache
def solved(radius_mm: float, strain: float = 0.01) -> tuple[Problem, Solution]:
    made = problem(radius_mm, strain)
    return made, solve_problem(made, rtol=1e-6)


def test_fold_of_a_bone_with_itself_is_one_whatever_the_load() -> None:
    seen = solved(8.0)
    assert lesion_strain_fold(*seen, *seen) == pytest.approx(1.0, abs=1e-12)
    assert lesion_strain_fold(*seen, *solved(8.0, strain=0.02)) == pytest.approx(1.0, rel=1e-4)


def test_a_larger_lesion_folds_strain_more() -> None:
    small, large = (lesion_strain_fold(*solved(r), *solved(0.0)) for r in (8.0, 11.0))
    assert small is not None
    assert large is not None
    assert 1.0 < small < large < 5.0


def test_only_bone_near_the_lesion_counts() -> None:
    """Strain far away is left out: what happens there does not change the ratio."""
    (seen, solution), whole = solved(8.0), solved(0.0)
    mesh = seen.model.mesh
    middle = mesh.centres_mm[mesh.element_region == 3].mean(axis=0)
    far = np.linalg.norm(mesh.centres_mm - middle, axis=1) > 8.0 + 10.0 + 3.0
    assert far.sum() > 200
    wild = replace(solution, strain=np.where(far[:, None], 1.0, solution.strain))
    assert lesion_strain_fold(seen, wild, *whole) == lesion_strain_fold(seen, solution, *whole)


def test_no_lesion_has_no_ratio_and_other_elements_are_refused() -> None:
    assert lesion_strain_fold(*solved(0.0), *solved(0.0)) is None
    with pytest.raises(InputError, match="on other elements"):
        lesion_strain_fold(*solved(8.0), problem(0.0, edge_mm=4.0), solved(0.0)[1])
    mesh = problem(0.0).model.mesh
    chipped = np.where(np.arange(len(mesh.region))[:, None, None] > 8, mesh.region, 0)
    other = SimpleNamespace(model=SimpleNamespace(mesh=replace(mesh, region=chipped)))
    with pytest.raises(InputError, match="on other elements"):
        lesion_strain_fold(*solved(8.0), other, solved(0.0)[1])
