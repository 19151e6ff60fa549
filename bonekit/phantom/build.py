"""A phantom: a simulated CT with the exact labels, density and landmarks behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import Image, LabelMap
from bonekit.phantom.appearance import appearance
from bonekit.phantom.hip import HipScene, hip_scene
from bonekit.phantom.parameters import (
    BodyParameters,
    FemurParameters,
    LesionParameters,
    ScannerParameters,
    VertebraParameters,
)
from bonekit.phantom.scanner import TARGET, Scan, field_of_view, noise, scan
from bonekit.phantom.spine import SPINE_BODY, SpineScene, spine_scene
from bonekit.segmentation.base import COLOURS, REGIONS

HU_LIMITS = (-1024, 3071)  # of a 12-bit scanner


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic patient.

    Parameters
    ----------
    ct : Image
        int16 HU.
    labels : LabelMap
        The table of `segmentation.base.REGIONS`. A voxel is bone where at least half of it is;
        the marrow canal counts as trabecular; the outermost layer of healthy bone is cortex.
    density : DensityImage
        Exact ash density of all bone in the field of view, the mean over each voxel, without
        point spread or noise; 0 outside bone.
    bone : str
        "femur_left", "femur_right", or such as "vertebra_L3".
    hu_per_g_cm3, hu_at_zero : float
        ``HU = hu_at_zero + hu_per_g_cm3 * ash density`` holds exactly in bone before blur and
        noise. What rods show: `appearance`.
    truth : mapping
        Landmarks and axes in the world, exact volumes, lesion, rods, and all parameters; with a
        tube voltage ``hydroxyapatite_line``, the HU that a phantom of hydroxyapatite in water
        would show (``hu_per_g_cm3``, ``hu_at_zero``). Plain numbers, strings and lists that JSON
        can hold.
    """

    ct: Image
    labels: LabelMap
    density: DensityImage
    bone: str
    hu_per_g_cm3: float
    hu_at_zero: float
    truth: Mapping[str, Any]


def femur_phantom(
    femur: FemurParameters | None = None,
    lesion: LesionParameters | None = None,
    *,
    body: BodyParameters | None = None,
    scanner: ScannerParameters | None = None,
    seed: int = 0,
) -> Phantom:
    """Make a proximal femur in its acetabulum.

    Parameters
    ----------
    femur : FemurParameters, optional
    lesion : LesionParameters, optional
        Sites: head, neck, intertrochanteric, greater_trochanter, lesser_trochanter,
        subtrochanteric, shaft. None for a healthy bone.
    body : BodyParameters, optional
        Soft tissue, calibration rods, table.
    scanner : ScannerParameters, optional
    seed : int
        Of the bone's texture, the soft tissue and the noise; the same seed gives the same phantom.

    Raises
    ------
    InputError
        If the lesion does not lie in the bone, or the site does not exist.
    """
    femur, body = femur or FemurParameters(), body or BodyParameters()
    scanner = scanner or ScannerParameters()
    texture, grain = _generators(seed)
    scene = hip_scene(femur, lesion, body, appearance(scanner), texture)
    given = {"femur": asdict(femur), "body": asdict(body), "seed": seed}
    return _phantom(scene, lesion, scanner, grain, given)


def vertebra_phantom(
    vertebra: VertebraParameters | None = None,
    lesion: LesionParameters | None = None,
    *,
    body: BodyParameters | None = None,
    scanner: ScannerParameters | None = None,
    seed: int = 0,
) -> Phantom:
    """Make a lumbar vertebra between its neighbours.

    Parameters
    ----------
    vertebra : VertebraParameters, optional
    lesion : LesionParameters, optional
        Sites: body, body_anterior, body_posterior, superior_endplate, inferior_endplate,
        left_pedicle, right_pedicle. None for a healthy bone.
    body : BodyParameters, optional
        Soft tissue, calibration rods, table; an abdomen if None.
    scanner : ScannerParameters, optional
    seed : int
        Of the bone's texture, the soft tissue and the noise; the same seed gives the same phantom.

    Raises
    ------
    InputError
        If the lesion does not lie in the bone, or the site does not exist.
    """
    vertebra, body = vertebra or VertebraParameters(), body or SPINE_BODY
    scanner = scanner or ScannerParameters()
    texture, grain = _generators(seed)
    scene = spine_scene(vertebra, lesion, body, appearance(scanner), texture)
    given = {"vertebra": asdict(vertebra), "body": asdict(body), "seed": seed}
    return _phantom(scene, lesion, scanner, grain, given)


def _generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Independent generators for the patient and for the noise."""
    if seed < 0:
        raise InputError(f"seed is {seed}; allowed: 0 and above")
    patient, grain = np.random.SeedSequence(seed).spawn(2)
    return np.random.default_rng(patient), np.random.default_rng(grain)


def _phantom(
    scene: HipScene | SpineScene,
    lesion: LesionParameters | None,
    scanner: ScannerParameters,
    grain: np.random.Generator,
    given: dict[str, Any],
) -> Phantom:
    grid = field_of_view(scene.spheres(), scanner)
    made = scan(scene, grid, scanner)
    hu = made.hu + noise(grid, scanner, grain)
    ct = np.clip(np.rint(hu), *HU_LIMITS).astype(np.int16)
    given |= {"lesion": asdict(lesion) if lesion else None, "scanner": asdict(scanner)}
    shows = appearance(scanner)
    truth = {"bone": scene.bone, **scene.truth(), **_amounts(made), "parameters": given}
    if shows.apatite is not None:
        truth["hydroxyapatite_line"] = asdict(shows.apatite)
    return Phantom(
        ct=Image(ct, grid),
        labels=LabelMap(made.region, grid, REGIONS, COLOURS),
        density=DensityImage(made.density, grid, DensityKind.ASH, calibrated=True),
        bone=scene.bone,
        hu_per_g_cm3=shows.bone.hu_per_g_cm3,
        hu_at_zero=shows.bone.hu_at_zero,
        truth=truth,
    )


def _amounts(made: Scan) -> dict[str, float]:
    """Exact volumes and mass within the field of view."""
    volumes = {f"{REGIONS[value]}_volume_mm3": volume for value, volume in made.volume_mm3.items()}
    bone = sum(made.volume_mm3[value] for value in TARGET)
    return {**volumes, "bone_volume_mm3": bone, "ash_mass_g": made.ash_g}
