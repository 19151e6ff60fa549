"""The scanner: from an exact scene to labels, density and a CT on a grid.

The scene is sampled `supersampling` times per voxel along each axis. Labels and density come from
those samples alone; the CT passes a point spread in plane, a rectangular slice profile, and noise
with the texture of its kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.image.volume import Grid
from bonekit.phantom.appearance import appearance
from bonekit.phantom.bone import CORTEX, LESION, OTHER_BONE, TRABECULAR, Materials, Sphere
from bonekit.phantom.parameters import ScannerParameters
from bonekit.phantom.shapes import Array, rotation

TARGET = (CORTEX, TRABECULAR, LESION)
AXIAL_SAMPLE_MM = 0.8  # slices are sampled at least this finely
FWHM = 2 * math.sqrt(2 * math.log(2))
# Peak of the noise power spectrum f * exp(-(f / f0)^2), cycles/mm: typical soft and bone kernels.
NOISE_F0 = {"soft": 0.35, "sharp": 0.75}


class Scene(Protocol):
    """Anything that can be scanned."""

    def materials(self, p: Array) -> Materials:
        """Tell what is at world points (3, n) in mm."""
        ...


@dataclass(frozen=True, eq=False)
class Scan:
    """What the scanner made of a scene.

    Parameters
    ----------
    hu : ndarray, (ni, nj, nk)
        Noise-free CT.
    region : ndarray of uint8, (ni, nj, nk)
    density : ndarray, (ni, nj, nk)
        Ash density in g/cm3, the mean over each voxel.
    volume_mm3 : dict of int to float
        Exact volume of every region in the field of view.
    ash_g : float
        Exact ash mass of the target bone in the field of view.
    """

    hu: Array
    region: NDArray[np.uint8]
    density: Array
    volume_mm3: dict[int, float]
    ash_g: float


def field_of_view(spheres: list[Sphere], scanner: ScannerParameters) -> Grid:
    """Grid that holds spheres (world centre, radius) with the scanner's margin."""
    axes = rotation(*scanner.rotation_deg)
    centres = np.array([centre for centre, _ in spheres]) @ axes
    radii = np.array([radius for _, radius in spheres])[:, None] + scanner.margin_mm
    low, high = (centres - radii).min(axis=0), (centres + radii).max(axis=0)
    spacing = np.array(scanner.spacing_mm)
    shape = np.maximum(np.ceil((high - low) / spacing).astype(int), 1)
    signs = np.where(scanner.flip, -1.0, 1.0)
    axes = axes * signs
    origin = axes @ ((low + high) / 2 * signs - (shape - 1) / 2 * spacing)
    ni, nj, nk = (int(n) for n in shape)
    return Grid.of((ni, nj, nk), spacing, origin, axes)


def scan(scene: Scene, grid: Grid, scanner: ScannerParameters) -> Scan:
    """Scan a scene without noise."""
    s = scanner.supersampling
    sub = max(s, math.ceil(grid.spacing_mm[2] / AXIAL_SAMPLE_MM))
    profile, pad = slice_profile(grid.shape[2], sub, float(grid.spacing_mm[2]), scanner)
    planes = np.empty((profile.shape[1], *grid.shape[:2]), np.float32)
    region = np.zeros(grid.shape, np.uint8)
    density = np.zeros(grid.shape, np.float32)
    fraction = dict.fromkeys((*TARGET, OTHER_BONE), 0.0)
    ash = 0.0
    for row, k in enumerate(range(-pad, grid.shape[2] + pad)):
        found = scene.materials(_slice_points(grid, k, s, sub))
        planes[row * sub : (row + 1) * sub] = _seen(found, grid, scanner, sub)
        if 0 <= k < grid.shape[2]:
            shares = {v: _reduce(found.region == v, grid, s, sub).mean(axis=0) for v in fraction}
            region[:, :, k] = _decide(shares, k)
            density[:, :, k] = _reduce(found.density, grid, s, sub).mean(axis=0)
            fraction = {v: fraction[v] + float(share.sum()) for v, share in shares.items()}
            own = found.density[np.isin(found.region, TARGET)]
            ash += float(own.sum(dtype=np.float64)) / (s * s * sub)
    hu = np.tensordot(planes, profile, axes=(0, 1)).astype(np.float32)
    volume = {value: share * grid.voxel_mm3 for value, share in fraction.items()}
    return Scan(hu, close_cortex(region), density, volume, ash * grid.voxel_mm3 / 1000)


def slice_profile(
    slices: int, sub: int, distance_mm: float, scanner: ScannerParameters
) -> tuple[Array, int]:
    """Weights (slices, samples) of the samples along z, and the extra slices at either end."""
    thickness = scanner.slice_thickness_mm or distance_mm
    pad = math.ceil(max(thickness / distance_mm - 1, 0) / 2 - 1e-9)
    step = distance_mm / sub
    sample = (np.arange((slices + 2 * pad) * sub) + 0.5) * step - (pad + 0.5) * distance_mm
    centre = np.arange(slices)[:, None] * distance_mm
    high = np.minimum(sample + step / 2, centre + thickness / 2)
    low = np.maximum(sample - step / 2, centre - thickness / 2)
    weights = np.maximum(high - low, 0) / thickness
    return weights.astype(np.float32), pad


def _slice_points(grid: Grid, k: int, s: int, sub: int) -> Array:
    """World points (3, sub * ni * s * nj * s) of the samples of slice k.

    The s * s columns of a pixel are staggered along z, so that a flat endplate is not counted in
    whole samples; the pattern is mirror-symmetric.
    """

    def samples(start: int, count: int, times: int) -> NDArray[np.float64]:
        return start + (np.arange(count * times) + 0.5) / times - 0.5

    i, j = samples(0, grid.shape[0], s), samples(0, grid.shape[1], s)
    row, column = (np.minimum(n := np.arange(c.size), n[::-1]) % s for c in (i, j))
    stagger = ((row[:, None] * s + column + 0.5) / s**2 - 0.5) / sub
    along = samples(k, 1, sub)[:, None, None] + stagger, i[:, None], j
    columns = grid.affine[:3, 2], grid.affine[:3, 0], grid.affine[:3, 1]
    points = [
        grid.origin_mm[a] + sum(c[a] * x for c, x in zip(columns, along, strict=True))
        for a in range(3)
    ]
    return np.stack([p.astype(np.float32).ravel() for p in points])


def _reduce(values: NDArray[np.generic], grid: Grid, s: int, sub: int) -> Array:
    """Mean over the samples of each pixel, (sub, ni, nj)."""
    blocks = values.reshape(sub, grid.shape[0], s, grid.shape[1], s)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32))


def _seen(found: Materials, grid: Grid, scanner: ScannerParameters, sub: int) -> Array:
    """HU planes of one slice after the in-plane point spread, (sub, ni, nj)."""
    s = scanner.supersampling
    bone = found.region > 0
    line = appearance(scanner).bone
    hu = np.where(bone, line.hu_at_zero + line.hu_per_g_cm3 * found.density, found.hu)
    planes = hu.astype(np.float32).reshape(sub, grid.shape[0] * s, grid.shape[1] * s)
    if scanner.kernel == "sharp":  # unsharp masking of a narrower point spread
        fine, wide = (_blur(planes, grid, scanner, scale) for scale in (0.75, 1.6))
        planes = 1.5 * fine - 0.5 * wide
    else:
        planes = _blur(planes, grid, scanner, 1.0)
    return _reduce(planes, grid, s, sub)


def _blur(planes: Array, grid: Grid, scanner: ScannerParameters, scale: float) -> Array:
    """Blur in plane by a Gaussian, less the little that averaging over a pixel adds."""
    s = scanner.supersampling
    averaging = grid.spacing_mm[:2] ** 2 * (1 - 1 / s**2) / 12
    variance = (scale * scanner.psf_fwhm_mm / FWHM) ** 2 - averaging
    sigma = np.sqrt(np.maximum(variance, 0)) / (grid.spacing_mm[:2] / s)
    return np.asarray(ndimage.gaussian_filter(planes, (0, *sigma), mode="nearest", truncate=3.5))


def _decide(shares: dict[int, Array], k: int) -> NDArray[np.uint8]:
    """Regions of slice k: bone where half of the voxel is, then what most of that bone is.

    Ties go to either side like the fields of a (mirror-symmetric) chessboard: no bias in volume.
    """
    i, j = (np.minimum(n := np.arange(size), n[::-1]) for size in shares[OTHER_BONE].shape)
    half = 0.5 + 1e-3 * (-1.0) ** (i[:, None] + j + k)
    order = np.array([LESION, CORTEX, TRABECULAR], np.uint8)
    own = np.stack([shares[int(value)] for value in order])
    region = np.where(own.sum(axis=0) >= half, order[own.argmax(axis=0)], 0)
    return np.asarray(np.where(shares[OTHER_BONE] >= half, OTHER_BONE, region), dtype=np.uint8)


def close_cortex(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make every trabecular voxel that shares a face with the outside cortex.

    A cortex thinner than a voxel would otherwise have holes in it.
    """
    own = np.isin(region, TARGET)
    shell = own & ~ndimage.binary_erosion(own, border_value=1)
    return np.where(shell & (region == TRABECULAR), CORTEX, region).astype(np.uint8)


def noise(grid: Grid, scanner: ScannerParameters, rng: np.random.Generator) -> Array:
    """Coloured noise (ni, nj, nk) in HU with the scanner's standard deviation.

    In plane it has the power spectrum ``f exp(-(f/f0)^2)``; slices thicker than their distance
    share noise.
    """
    distance = float(grid.spacing_mm[2])
    profile, pad = slice_profile(grid.shape[2], 1, distance, scanner)
    ni, nj = grid.shape[:2]
    fi = np.fft.fftfreq(ni, grid.spacing_mm[0])[:, None]
    fj = np.fft.rfftfreq(nj, grid.spacing_mm[1])
    f = np.hypot(fi, fj)
    amplitude = np.sqrt(f * np.exp(-((f / NOISE_F0[scanner.kernel]) ** 2))).astype(np.float32)
    weight = np.where((np.arange(fj.size) == 0) | (2 * np.arange(fj.size) == nj), 1, 2)
    power = float((amplitude**2 * weight).sum()) / (ni * nj)
    white = _white(rng, grid.shape[2] + 2 * pad, ni, nj)
    planes = np.stack([np.fft.irfft2(np.fft.rfft2(w) * amplitude, (ni, nj)) for w in white])
    across = profile / np.sqrt((profile**2).sum(axis=1, keepdims=True))
    scale = scanner.noise_hu / math.sqrt(power) if power > 0 else 0.0
    return np.asarray(scale * np.tensordot(planes, across, axes=(0, 1)), dtype=np.float32)


def _white(rng: np.random.Generator, count: int, ni: int, nj: int) -> Iterator[Array]:
    for _ in range(count):
        yield rng.standard_normal((ni, nj), dtype=np.float32)
