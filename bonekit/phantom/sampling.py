"""Random parameters of plausible phantoms, for tests and for training.

Spreads are typical adult variation, without the correlations of a real population.
"""

from __future__ import annotations

import numpy as np

from bonekit.phantom.parameters import (
    KERNELS,
    LESION_KINDS,
    LEVELS,
    SIDES,
    FemurParameters,
    LesionParameters,
    ScannerParameters,
    VertebraParameters,
)

FEMUR_SITES = ("head", "neck", "intertrochanteric", "greater_trochanter", "subtrochanteric")
VERTEBRA_SITES = ("body", "body_anterior", "body_posterior", "superior_endplate", "left_pedicle")


def _normal(rng: np.random.Generator, mean: float, spread: float) -> float:
    """Draw from a normal distribution cut at two standard deviations."""
    return mean + spread * float(np.clip(rng.normal(), -2, 2))


def random_femur(rng: np.random.Generator) -> FemurParameters:
    """Draw a femur; bone quality runs from osteoporotic to dense."""
    size, quality = _normal(rng, 1.0, 0.06), float(rng.uniform())
    return FemurParameters(
        side=str(rng.choice(SIDES)),
        head_radius_mm=_normal(rng, 23.5, 0.8) * size,
        neck_length_mm=_normal(rng, 54, 2.5) * size,
        neck_radius_mm=_normal(rng, 15.5, 0.7) * size,
        neck_shaft_angle_deg=_normal(rng, 127, 4),
        anteversion_deg=_normal(rng, 12, 6),
        shaft_radius_mm=_normal(rng, 14, 0.6) * size,
        shaft_length_mm=float(rng.uniform(40, 100)),
        shaft_cortex_mm=3.5 + 3 * quality,
        head_cortex_mm=0.8 + 0.6 * quality,
        joint_gap_mm=float(rng.uniform(2.2, 4.0)),
        flexion_deg=float(rng.uniform(0, 40)),
        adduction_deg=_normal(rng, 3, 4),
        external_rotation_deg=_normal(rng, 5, 8),
        cortical_g_cm3=1.0 + 0.18 * quality,
        trabecular_g_cm3=(0.04 + 0.08 * quality, 0.25 + 0.25 * quality),
        texture=float(rng.uniform(0.05, 0.2)),
    )


def random_vertebra(rng: np.random.Generator) -> VertebraParameters:
    """Draw a lumbar vertebra; bone quality runs from osteoporotic to dense."""
    size, quality = _normal(rng, 1.0, 0.06), float(rng.uniform())
    level = int(rng.integers(len(LEVELS)))
    return VertebraParameters(
        level=LEVELS[level],
        width_mm=(_normal(rng, 48, 1.5) + 1.8 * (level - 2)) * size,
        depth_mm=_normal(rng, 35, 1.2) * size,
        height_mm=_normal(rng, 28, 1.0) * size,
        endplate_concavity_mm=float(rng.uniform(0.8, 3.0)),
        waist_mm=float(rng.uniform(1.2, 2.8)),
        disc_mm=float(rng.uniform(6.5, 11.5)),
        facet_gap_mm=float(rng.uniform(1.0, 2.2)),
        pedicle_width_mm=_normal(rng, 9, 0.8) + 1.2 * max(level - 2, 0),
        canal_width_mm=_normal(rng, 24, 1.2),
        canal_depth_mm=_normal(rng, 16, 1.0),
        spinous_length_mm=_normal(rng, 28, 2),
        transverse_span_mm=_normal(rng, 86, 4) * size,
        cortex_mm=0.5 + 0.7 * quality,
        posterior_cortex_mm=1.4 + 0.9 * quality,
        tilt_deg=_normal(rng, 0, 6) + 6.0 * (level - 2),
        cortical_g_cm3=0.95 + 0.2 * quality,
        trabecular_g_cm3=(0.05 + 0.13 * quality, 0.12 + 0.2 * quality),
        texture=float(rng.uniform(0.05, 0.2)),
    )


def random_lesion(
    rng: np.random.Generator, sites: tuple[str, ...] = FEMUR_SITES
) -> LesionParameters:
    """Draw a lesion at one of `sites`; its centre always lies in a drawn bone."""
    x, y, z = (float(value) for value in rng.uniform(-2.5, 2.5, size=3))
    a, b, c = (float(value) for value in rng.uniform(5, 14, size=3))
    return LesionParameters(
        kind=str(rng.choice(LESION_KINDS)),
        site=str(rng.choice(sites)),
        offset_mm=(x, y, z),
        radii_mm=(a, b, c),
        lytic_g_cm3=float(rng.uniform(0.02, 0.10)),
        blastic_g_cm3=float(rng.uniform(0.5, 1.0)),
        edge_mm=float(rng.uniform(0.5, 3.0)),
        breaks_cortex=bool(rng.uniform() < 0.5),
    )


def random_scanner(rng: np.random.Generator) -> ScannerParameters:
    """Draw a clinical protocol: resolution, noise, kernel, and the line from density to HU."""
    plane, slices = float(rng.uniform(0.5, 1.0)), float(rng.choice([0.8, 1.0, 1.5, 2.0, 3.0]))
    return ScannerParameters(
        spacing_mm=(plane, plane, slices),
        psf_fwhm_mm=float(rng.uniform(0.7, 1.4)),
        slice_thickness_mm=slices * float(rng.choice([1.0, 1.0, 1.5])),
        noise_hu=float(rng.uniform(8, 45)),
        kernel=str(rng.choice(KERNELS)),
        margin_mm=float(rng.uniform(5, 25)),
        hu_per_g_cm3=float(rng.uniform(1200, 1450)),
        hu_at_zero=float(rng.uniform(-45, -15)),
    )
