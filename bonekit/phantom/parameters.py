"""What a phantom is made from: frozen parameters that refuse impossible values.

Default sizes are typical adult values, chosen to look like clinical CT, not fitted to a cohort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bonekit.errors import InputError

SIDES = ("left", "right")
LEVELS = ("L1", "L2", "L3", "L4", "L5")
LESION_KINDS = ("lytic", "blastic", "mixed")
KERNELS = ("soft", "sharp")


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise `InputError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `InputError` unless ``low <= value <= high``."""
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{name} is {value:g}; allowed: {low:g} to {high:g}")


def check_three(name: str, values: Sequence[float], low: float, high: float) -> None:
    """Raise `InputError` unless `values` are three numbers between two bounds."""
    if len(values) != 3:
        raise InputError(f"{name} needs three numbers (x, y, z), got {list(values)}")
    for axis, value in zip("xyz", values, strict=True):
        check_range(f"{name} along {axis}", value, low, high)


@dataclass(frozen=True)
class FemurParameters:
    """A proximal femur in its acetabulum.

    Parameters
    ----------
    side : "left" or "right"
        A right femur is the exact mirror image of the left one.
    head_radius_mm : float
    neck_length_mm : float
        From the head centre to the shaft axis, along the neck.
    neck_radius_mm : float
        At the narrowest place, from top to bottom; front to back it is 15 % less.
    neck_shaft_angle_deg, anteversion_deg : float
    shaft_radius_mm : float
    shaft_length_mm : float
        From the lesser trochanter to the distal end of the field of view.
    shaft_cortex_mm : float
        Cortical thickness of the shaft; it thins towards the trochanters.
    head_cortex_mm : float
        Cortical thickness of the head and the greater trochanter.
    joint_gap_mm : float
        Cartilage between head and acetabulum; no pelvic bone comes nearer to the femur.
    flexion_deg, adduction_deg, external_rotation_deg : float
        Posture of the limb, about the head centre.
    cortical_g_cm3 : float
        Ash density of the shaft's cortex; thin cortices are up to 15 % less dense.
    trabecular_g_cm3 : tuple of float, (2,)
        Ash density in Ward's triangle and in the principal compressive group.
    texture : float
        Relative standard deviation of the trabecular density at a scale of 3 to 9 mm.
    """

    side: str = "left"
    head_radius_mm: float = 23.5
    neck_length_mm: float = 54.0
    neck_radius_mm: float = 15.5
    neck_shaft_angle_deg: float = 127.0
    anteversion_deg: float = 12.0
    shaft_radius_mm: float = 14.0
    shaft_length_mm: float = 75.0
    shaft_cortex_mm: float = 6.0
    head_cortex_mm: float = 1.0
    joint_gap_mm: float = 3.0
    flexion_deg: float = 8.0
    adduction_deg: float = 5.0
    external_rotation_deg: float = 0.0
    cortical_g_cm3: float = 1.15
    trabecular_g_cm3: tuple[float, float] = (0.10, 0.45)
    texture: float = 0.10

    def __post_init__(self) -> None:
        check_choice("side", self.side, SIDES)
        bounds = {
            "head_radius_mm": (15, 35),
            "neck_length_mm": (35, 80),
            "neck_radius_mm": (8, 0.9 * self.head_radius_mm),
            "neck_shaft_angle_deg": (105, 150),
            "anteversion_deg": (-20, 50),
            "shaft_radius_mm": (8, 22),
            "shaft_length_mm": (5, 200),
            "shaft_cortex_mm": (0.5, 0.8 * self.shaft_radius_mm),
            "head_cortex_mm": (0.3, 4),
            "joint_gap_mm": (0.5, 8),
            "flexion_deg": (-20, 60),
            "adduction_deg": (-30, 30),
            "external_rotation_deg": (-45, 60),
            "cortical_g_cm3": (0.5, 1.4),
            "texture": (0, 0.3),
        }
        for name, (low, high) in bounds.items():
            check_range(name, getattr(self, name), low, high)
        _check_trabecular(self.trabecular_g_cm3)


@dataclass(frozen=True)
class VertebraParameters:
    """A lumbar vertebra between two neighbours of the same shape, with discs.

    Parameters
    ----------
    level : str
        "L1" to "L5": names the result; the sizes are the other parameters.
    width_mm, depth_mm, height_mm : float
        Of the vertebral body: left to right, front to back, at the rim.
    endplate_concavity_mm, waist_mm : float
        Depth of the endplates' bowl and of the body's waist.
    disc_mm, facet_gap_mm : float
        Disc height at the rim; width of the facet joints.
    pedicle_width_mm : float
    canal_width_mm, canal_depth_mm : float
    spinous_length_mm, transverse_span_mm : float
        Spinous process from the lamina; tip to tip of the transverse processes.
    cortex_mm, posterior_cortex_mm : float
        Cortical thickness of the body (with endplates) and of the posterior elements.
    tilt_deg : float
        Sagittal tilt of the vertebra in the scanner, front down.
    cortical_g_cm3 : float
        Ash density of the posterior cortex; the body's thin shell is 25 % less dense.
    trabecular_g_cm3 : tuple of float, (2,)
        Ash density in the middle of the body, and near the endplates and in the pedicles.
    texture : float
        Relative standard deviation of the trabecular density at a scale of 3 to 9 mm.
    """

    level: str = "L3"
    width_mm: float = 48.0
    depth_mm: float = 35.0
    height_mm: float = 28.0
    endplate_concavity_mm: float = 1.8
    waist_mm: float = 2.0
    disc_mm: float = 9.0
    facet_gap_mm: float = 1.6
    pedicle_width_mm: float = 9.0
    canal_width_mm: float = 24.0
    canal_depth_mm: float = 16.0
    spinous_length_mm: float = 28.0
    transverse_span_mm: float = 86.0
    cortex_mm: float = 1.0
    posterior_cortex_mm: float = 2.0
    tilt_deg: float = 0.0
    cortical_g_cm3: float = 1.1
    trabecular_g_cm3: tuple[float, float] = (0.13, 0.26)
    texture: float = 0.10

    def __post_init__(self) -> None:
        check_choice("level", self.level, LEVELS)
        bounds = {
            "width_mm": (30, 70),
            "depth_mm": (22, 50),
            "height_mm": (16, 40),
            "endplate_concavity_mm": (0, 0.2 * self.height_mm),
            "waist_mm": (0, 0.2 * self.depth_mm),
            "disc_mm": (3, 18),
            "facet_gap_mm": (0.5, 4),
            "pedicle_width_mm": (5, 20),
            "canal_width_mm": (14, 34),
            "canal_depth_mm": (10, 26),
            "spinous_length_mm": (10, 45),
            "transverse_span_mm": (self.width_mm + 6, 120),
            "cortex_mm": (0.3, 0.25 * self.height_mm),
            "posterior_cortex_mm": (0.3, 0.45 * self.pedicle_width_mm),
            "tilt_deg": (-45, 45),
            "cortical_g_cm3": (0.5, 1.4),
            "texture": (0, 0.3),
        }
        for name, (low, high) in bounds.items():
            check_range(name, getattr(self, name), low, high)
        _check_trabecular(self.trabecular_g_cm3)


def _check_trabecular(limits: tuple[float, float]) -> None:
    if len(limits) != 2 or not 0 <= limits[0] <= limits[1] <= 0.8:
        raise InputError(
            f"trabecular_g_cm3 is {tuple(limits)}; "
            "allowed: (low, high) with 0 <= low <= high <= 0.8"
        )


@dataclass(frozen=True)
class LesionParameters:
    """An ellipsoidal lesion.

    Parameters
    ----------
    kind : "lytic", "blastic" or "mixed"
        Mixed alternates between the other two at a scale of about 6 mm.
    site : str
        A named place of the bone (`FemurShape.sites`, `VertebraShape.sites`).
    offset_mm : tuple of float, (3,)
        From the site, in the bone's frame of a left bone: lateral, posterior, proximal.
    radii_mm : tuple of float, (3,)
        Semi-axes along the same directions.
    lytic_g_cm3, blastic_g_cm3 : float
        Ash density of destroyed and of sclerotic tissue.
    edge_mm : float
        Width of the transition to healthy bone, inwards from the lesion's surface.
    breaks_cortex : bool
        Whether the lesion takes the cortex it meets; otherwise it stays inside the cortex.
    """

    kind: str = "lytic"
    site: str = "neck"
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radii_mm: tuple[float, float, float] = (9.0, 9.0, 9.0)
    lytic_g_cm3: float = 0.05
    blastic_g_cm3: float = 0.75
    edge_mm: float = 1.0
    breaks_cortex: bool = True

    def __post_init__(self) -> None:
        check_choice("lesion kind", self.kind, LESION_KINDS)
        check_three("lesion offset_mm", self.offset_mm, -150, 150)
        check_three("lesion radii_mm", self.radii_mm, 1, 60)
        check_range("lytic_g_cm3", self.lytic_g_cm3, 0, 0.5)
        check_range("blastic_g_cm3", self.blastic_g_cm3, 0.2, 1.4)
        check_range("edge_mm", self.edge_mm, 0, min(self.radii_mm))


@dataclass(frozen=True)
class BodyParameters:
    """The soft tissue around the bone and what lies beneath the patient.

    Parameters
    ----------
    half_width_mm, half_depth_mm : float
        Half axes of the trunk's outline.
    fat_mm : float
        Thickness of the subcutaneous fat.
    rods_g_cm3 : tuple of float
        K2HPO4 densities of calibration rods in a pad under the patient, from the patient's right
        to left; empty for no pad.
    table : bool
    """

    half_width_mm: float = 190.0
    half_depth_mm: float = 112.0
    fat_mm: float = 18.0
    rods_g_cm3: tuple[float, ...] = ()
    table: bool = False

    def __post_init__(self) -> None:
        check_range("half_width_mm", self.half_width_mm, 100, 400)
        check_range("half_depth_mm", self.half_depth_mm, 60, 300)
        check_range("fat_mm", self.fat_mm, 0, 0.6 * self.half_depth_mm)
        if len(self.rods_g_cm3) > 5:
            raise InputError(f"{len(self.rods_g_cm3)} calibration rods given; allowed: 0 to 5")
        for density in self.rods_g_cm3:
            check_range("rod density (K2HPO4 g/cm3)", density, -0.2, 1.5)


@dataclass(frozen=True)
class ScannerParameters:
    """How the scanner sees the patient.

    Parameters
    ----------
    spacing_mm : tuple of float, (3,)
        Distance of the samples in plane (two) and between slices.
    psf_fwhm_mm : float
        Full width at half maximum of the in-plane point spread with the soft kernel; 0 for none.
    slice_thickness_mm : float, optional
        Width of the rectangular slice profile; the slice distance if None.
    noise_hu : float
        Standard deviation of the noise.
    kernel : "soft" or "sharp"
        Sharp narrows the point spread, overshoots at edges and has finer-grained noise.
    margin_mm : float
        Field of view beyond the bone.
    rotation_deg : tuple of float, (3,)
        Rotation of the image's axes about x, y and z: an oblique acquisition.
    flip : tuple of bool, (3,)
        Axes stored in descending order.
    supersampling : int
        Samples of the exact scene per voxel and axis in plane; along z at least as fine.
    hu_per_g_cm3, hu_at_zero : float
        The line from ash density to HU. Synthetic: 1.15 g/cm3 shows 1500 HU, 0.25 shows 300 HU,
        pure marrow -30 HU.
    kVp : float, optional
        Tube voltage, 70 to 150: every HU then follows from a spectrum and the make-up of the
        tissues (`appearance`), and `hu_per_g_cm3` and `hu_at_zero` must not be given.
    """

    spacing_mm: tuple[float, float, float] = (0.78, 0.78, 1.5)
    psf_fwhm_mm: float = 0.9
    slice_thickness_mm: float | None = None
    noise_hu: float = 15.0
    kernel: str = "soft"
    margin_mm: float = 8.0
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flip: tuple[bool, bool, bool] = (False, False, False)
    supersampling: int = 2
    hu_per_g_cm3: float = 1330.0
    hu_at_zero: float = -30.0
    kVp: float | None = None

    def __post_init__(self) -> None:
        check_three("spacing_mm", self.spacing_mm, 0.2, 6)
        if max(self.spacing_mm[:2]) > 3:
            raise InputError(
                f"in-plane spacing_mm is {list(self.spacing_mm[:2])}; allowed: 0.2 to 3 "
                "(a coarser grid does not resolve a joint)"
            )
        check_range("psf_fwhm_mm", self.psf_fwhm_mm, 0, 5)
        if self.slice_thickness_mm is not None:
            check_range("slice_thickness_mm", self.slice_thickness_mm, 0.2, 10)
        check_range("noise_hu", self.noise_hu, 0, 300)
        check_choice("kernel", self.kernel, KERNELS)
        check_range("margin_mm", self.margin_mm, 0, 100)
        check_three("rotation_deg", self.rotation_deg, -45, 45)
        check_range("supersampling", self.supersampling, 1, 6)
        check_range("hu_per_g_cm3", self.hu_per_g_cm3, 100, 5000)
        check_range("hu_at_zero", self.hu_at_zero, -200, 200)
        if self.kVp is not None:
            check_range("kVp", self.kVp, 70, 150)
            given = (self.hu_per_g_cm3, self.hu_at_zero)
            if given != (type(self).hu_per_g_cm3, type(self).hu_at_zero):
                raise InputError(
                    f"both kVp {self.kVp:g} and a line (hu_per_g_cm3 {given[0]:g}, hu_at_zero "
                    f"{given[1]:g}) are given; the line follows from kVp: leave one of them out"
                )
