"""From a label map to an image: tissues are painted, then the scanner sees them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from monai.transforms.intensity.array import RandBiasField, RandRicianNoise
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap
from bonekit.image.volume import array_of
from bonekit.phantom import ScannerParameters
from bonekit.phantom import scanner as ct_scanner
from bonekit.phantom.shapes import rotation
from bonekit.segmentation.synthesis.recipe import Range, Recipe, Tissue

Array = NDArray[np.float32]
CONTROL_MM = 50.0
# Deviation of a cubic B-spline with knots of deviation 1: the root of (151/315)**3, the mean of
# the squared weights over a cell
SPLINE_GAIN = 0.332
SPECKLE_RANGE_DB = 60.0  # shown by the grey scale of an ultrasound image


def synthesise(labels: LabelMap, recipe: Recipe, rng: np.random.Generator) -> Image:
    """Make an image of a label map.

    The generative model is that of SynthSeg (Billot et al., Med. Image Anal. 86:102789, 2023):
    a Gaussian per label, bias field, resolution, noise; with `recipe.CT` the values are HU.

    Parameters
    ----------
    labels : LabelMap
        On any grid; slices are those of its third canonical axis.
    recipe : Recipe
    rng : numpy.random.Generator

    Returns
    -------
    Image
        On the grid of the canonical labels: int16 if the recipe has limits, else float32.

    Raises
    ------
    InputError
        If the recipe does not know a label.
    """
    return acquire(paint(labels, recipe, rng), recipe, rng)


def paint(labels: LabelMap, recipe: Recipe, rng: np.random.Generator) -> Image:
    """Give every tissue a mean and a texture, without scanner: float32 on the canonical grid.

    Raises
    ------
    InputError
        If the recipe does not know a label.
    """
    labels = labels.canonical()
    present, place = np.unique(labels.array, return_inverse=True)
    tissues = [_tissue(recipe, labels.names.get(int(value), ""), int(value)) for value in present]
    means = np.array([rng.uniform(*tissue.mean) for tissue in tissues], np.float32)
    stds = np.array([rng.uniform(*tissue.std) for tissue in tissues], np.float32)
    field = smooth_noise(labels.grid, rng.uniform(*recipe.texture_mm), rng)
    place = place.reshape(labels.shape)
    return Image((means[place] + stds[place] * field).astype(np.float32), labels.grid)


def _tissue(recipe: Recipe, name: str, value: int) -> Tissue:
    """Look up a label, the background by its number."""
    found = recipe.tissues.get("background" if value == 0 else name, recipe.other)
    if found is None:
        raise InputError(
            f"the recipe does not say how label {value} {name!r} looks; it knows "
            f"{', '.join(recipe.tissues)}. Add the label to `tissues`, or give `other`"
        )
    return found


def smooth_noise(grid: Grid, length_mm: float, rng: np.random.Generator) -> Array:
    """Gaussian field of zero mean, unit variance and a correlation length, (ni, nj, nk)."""
    sigma = length_mm / grid.spacing_mm / np.sqrt(2)
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, sigma, mode="wrap")
    return np.asarray(smooth / _gain(sigma), dtype=np.float32)


def acquire(ideal: Image, recipe: Recipe, rng: np.random.Generator) -> Image:
    """See a painted image through the scanner: point spread, slices, bias field, noise, limits."""
    ideal = ideal.canonical()
    fwhm, thickness = rng.uniform(*recipe.psf_fwhm_mm), rng.uniform(*recipe.slice_mm)
    bias, std = rng.uniform(*recipe.bias), rng.uniform(*recipe.noise_std)
    array = np.asarray(ideal.array, np.float32)
    if recipe.noise == "speckle":
        array = speckle(ideal.with_array(array), fwhm, rng)
    else:
        array = thick_slices(_point_spread(array, ideal.grid, fwhm), ideal.grid, thickness)
        array = _noisy(_biased(array, bias, rng), ideal.grid, recipe, std, rng)
    return ideal.with_array(_limited(array, recipe.limits))


def _point_spread(array: Array, grid: Grid, fwhm_mm: float) -> Array:
    sigma = fwhm_mm / ct_scanner.FWHM / grid.spacing_mm
    return np.asarray(ndimage.gaussian_filter(array, (sigma[0], sigma[1], 0), mode="nearest"))


def thick_slices(array: Array, grid: Grid, thickness_mm: float) -> Array:
    """Average over slices of a thickness with the rectangular profile of the phantoms' scanner."""
    distance = float(grid.spacing_mm[2])
    if thickness_mm <= distance:
        return array
    scanner = ScannerParameters(slice_thickness_mm=thickness_mm)
    profile, pad = ct_scanner.slice_profile(array.shape[2], 1, distance, scanner)
    padded = np.pad(array, ((0, 0), (0, 0), (pad, pad)), mode="edge")
    return np.asarray(padded @ profile.T, dtype=np.float32)


def _biased(array: Array, largest: float, rng: np.random.Generator) -> Array:
    """Multiply by a smooth field."""
    if largest == 0:
        return array
    transform = RandBiasField(degree=3, coeff_range=(-largest, largest), prob=1.0)
    transform.set_random_state(seed=_seed(rng))
    return np.asarray(transform(array[None])[0], dtype=np.float32)


def _noisy(array: Array, grid: Grid, recipe: Recipe, std: float, rng: np.random.Generator) -> Array:
    if recipe.noise == "gaussian":
        return array + std * rng.standard_normal(array.shape, dtype=np.float32)
    if recipe.noise == "rician":
        rician = RandRicianNoise(prob=1.0, std=std, sample_std=False)
        rician.set_random_state(seed=_seed(rng))
        return np.asarray(rician(array[None])[0], dtype=np.float32)
    if recipe.noise == "ct":
        return array + ct_scanner.noise(grid, ScannerParameters(noise_hu=std), rng)
    return array


def speckle(ideal: Image, fwhm_mm: float, rng: np.random.Generator) -> Array:
    """Envelope of fully developed speckle on a log scale of 0..255, from echogenicity in dB.

    The signal is complex Gaussian with the local power, correlated by the point spread: twice as
    wide across the beam (first two axes) as along it. Its envelope is Rayleigh-distributed
    (Burckhardt, IEEE Trans. Sonics Ultrason. 25:1, 1978).
    """
    sigma = np.array([1.0, 1.0, 0.5]) * fwhm_mm / ct_scanner.FWHM / ideal.spacing_mm
    amplitude = 10 ** (ideal.array / 20)
    parts = []
    for _ in range(2):
        white = rng.standard_normal(ideal.shape, dtype=np.float32)
        parts.append(ndimage.gaussian_filter(amplitude * white, sigma, mode="nearest"))
    gain = np.sqrt(2.0) * _gain(sigma)
    envelope = np.hypot(*parts) / gain
    return np.asarray(20 * np.log10(envelope + 1.0) * 255 / SPECKLE_RANGE_DB, dtype=np.float32)


def _gain(sigma: NDArray[np.float64]) -> float:
    """Return the standard deviation that a Gaussian filter leaves of white noise."""
    gain = 1.0
    for one in sigma:
        impulse = np.zeros(2 * int(np.ceil(4 * one)) + 3)
        impulse[impulse.size // 2] = 1.0
        gain *= float(np.linalg.norm(ndimage.gaussian_filter1d(impulse, one)))
    return gain


def _limited(array: Array, limits: Range | None) -> NDArray[np.generic]:
    return array if limits is None else np.rint(np.clip(array, *limits)).astype(np.int16)


def deform(labels: LabelMap, rng: np.random.Generator, *, shift_mm: float = 4.0) -> LabelMap:
    """Move and bend a label map at random, labels staying whole numbers.

    Rotations up to 10 degrees about each axis, sizes by up to 10 %, and a cubic B-spline with a
    control point every `CONTROL_MM` whose displacement along each axis has the deviation
    `shift_mm`. (MONAI's Rand3DElastic bends in voxels, and takes 46 GB for 560 x 560 x 65.)
    """
    labels = labels.canonical()
    image = labels.to_sitk()
    size = np.array(labels.shape) * labels.spacing_mm
    mesh = [int(n) for n in np.maximum(np.rint(size / CONTROL_MM), 1)]
    bend = sitk.BSplineTransformInitializer(image, mesh)
    knots = rng.normal(0.0, shift_mm / SPLINE_GAIN, size=len(bend.GetParameters()))
    bend.SetParameters(knots.tolist())
    turn = rotation(*rng.uniform(-10, 10, size=3)) @ np.diag(rng.uniform(0.9, 1.1, size=3))
    move = sitk.AffineTransform(3)
    move.SetCenter(labels.grid.world((np.array(labels.shape) - 1) / 2).tolist())
    move.SetMatrix(turn.ravel().tolist())
    both = sitk.CompositeTransform([move, bend])
    return labels.with_array(array_of(sitk.Resample(image, both, sitk.sitkNearestNeighbor, 0.0)))


def _seed(rng: np.random.Generator) -> int:
    """Pass randomness on to a MONAI transform."""
    return int(rng.integers(2**31))


def surrounded(labels: LabelMap, *, layer_mm: float = 10.0) -> LabelMap:
    """Wrap what is labelled into a layer of fat, and fill the gaps between with it."""
    labels = labels.canonical()
    body = labels.array > 0
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, 2, 0)], 2)
    away = ndimage.distance_transform_edt(~filled, sampling=labels.spacing_mm)
    names = dict(labels.names)
    value = max([*names, int(labels.array.max())]) + 1
    known = {name: number for number, name in names.items()}
    value = known.get("fat", value)
    names[value] = "fat"
    array = labels.array.astype(np.promote_types(labels.array.dtype, np.min_scalar_type(value)))
    array[~body & (away <= layer_mm)] = value
    return LabelMap(array, labels.grid, names, labels.colours)
