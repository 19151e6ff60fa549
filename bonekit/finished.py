"""A run that came to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.density import Calibration, Conversion, DensityImage
from bonekit.fem.model import Solution
from bonekit.fem.simulation import Problem, judge
from bonekit.fem.strength import Strength
from bonekit.image.volume import Image, LabelMap
from bonekit.lesions import Described, Vertebral, describe, describe_level
from bonekit.meshing.bone import element_density
from bonekit.risk import Patient
from bonekit.segmentation.base import BONE_REGIONS, Segmentation

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathEnd:
    """Where a nonlinear path found its largest force.

    Parameters
    ----------
    strength : Strength
    reason : str
        Why the path ended there: "peak", "plateau" or "end", where the force still rose.
    displacement_mm : ndarray of float, (n_nodes, 3)
        In mesh axes.
    plastic_strain : ndarray of float, (n_elements,)
    damage : ndarray of float, (n_elements, 2)
        In tension and compression.
    """

    strength: Strength
    reason: str
    displacement_mm: Float
    plastic_strain: Float
    damage: Float


@dataclass(frozen=True, eq=False)
class Finished:
    """Everything a run found out, before it is put into words.

    Of the last group of parameters each is what its stage wrote, as JSON holds it.
    """

    ct: Image
    density: DensityImage
    segmentation: Segmentation
    problem: Problem
    solution: Solution
    calibration: Calibration
    to_ash: Conversion
    inputs: Mapping[str, str]
    synthetic: bool
    calibrating: Mapping[str, Any]
    cortex: Mapping[str, Any]
    error: Mapping[str, Any] | None
    intact: Mapping[str, Any] | None
    sweep: Mapping[str, Any] | None
    scan: Mapping[str, Any]
    patient: Patient
    criterion: str | None
    peak: PathEnd | None

    @cached_property
    def strength(self) -> Strength:
        """The answer: the peak if there is one, or else the linear strength."""
        return self.linear if self.peak is None else self.peak.strength

    @cached_property
    def linear(self) -> Strength:
        """Strength by the criterion of linear solutions."""
        return judge(self.problem, self.solution, self.criterion)

    @cached_property
    def labels(self) -> LabelMap:
        """Labels on the grid of the cropped CT."""
        return self.segmentation.labels.resample(self.ct.grid)

    @cached_property
    def bone_hu(self) -> NDArray[np.int16]:
        """HU of the segmented voxels of the bone."""
        return np.asarray(self.ct.array[self.labels.mask(*BONE_REGIONS)])

    @cached_property
    def lesions(self) -> tuple[Described, ...]:
        """Where the lesions lie and what cortex they took."""
        return describe(self.segmentation, self.density, self.problem.lesions, self.patient.pain)

    @cached_property
    def level(self) -> Vertebral | None:
        """Parts of a vertebra that all its lesions together took."""
        return describe_level(self.segmentation, self.density, self.problem.lesions)

    @cached_property
    def ash_density(self) -> Float:
        """Mean ash density of the elements, g/cm3."""
        return element_density(self.density, self.problem.model.mesh, self.segmentation)
