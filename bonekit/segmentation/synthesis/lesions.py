"""Lesions put into an image and its label map, with the exact truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image import Image, LabelMap
from bonekit.part import Part
from bonekit.phantom.shapes import Waves, rotation, smoothstep
from bonekit.segmentation.synthesis.recipe import Range

Kind = Literal["lytic", "blastic", "mixed", "ms", "new_ms", "dawm"]
Positive = Annotated[float, Field(gt=0)]
Mask = NDArray[np.bool_]
TRIES = 50
LEAST_VOXELS = 8
LEAST_SHARE = 0.35  # of the drawn ellipsoid that must lie in the host
ROUGHNESS = 0.08  # deviation of the border from an ellipsoid, as a share of the radius
TOUCHING = np.ones((3, 3, 3), bool)


class LesionRecipe(Part):
    """Lesions of one kind; every range is drawn anew for each lesion.

    Parameters
    ----------
    kind : str
        ``lytic``, ``blastic`` and ``mixed`` replace tissue by HU; ``ms``, ``new_ms`` and ``dawm``
        multiply what is there by one plus a contrast, ``new_ms`` in the last image only.
    hosts : tuple of str
        Labels that lesions grow in; they never leave them.
    label : str
        Name that their voxels get.
    count : tuple of int
    radius_mm : tuple of float
        Of the three semi-axes.
    value : tuple of float
        HU of the tissue, or contrast; for ``mixed`` the range of the dense parts.
    edge_mm : float
        Width of the transition, inwards from the border.
    """

    kind: Kind
    hosts: tuple[str, ...]
    label: str = "lesion"
    count: tuple[Annotated[int, Field(ge=0)], int] = (0, 3)
    radius_mm: tuple[Positive, Positive] = (4.0, 10.0)
    value: Range
    edge_mm: Positive = 1.0


_BONE = ("cortex", "trabecular", "bone")
SOFT_HU = (10.0, 70.0)  # tumour and marrow in destroyed bone; typical
LESIONS: Mapping[Kind, LesionRecipe] = {
    "lytic": LesionRecipe(kind="lytic", hosts=_BONE, radius_mm=(5, 12), value=SOFT_HU),
    "blastic": LesionRecipe(kind="blastic", hosts=_BONE, radius_mm=(5, 12), value=(700, 1300)),
    "mixed": LesionRecipe(kind="mixed", hosts=_BONE, radius_mm=(5, 12), value=(700, 1300)),
    "ms": LesionRecipe(kind="ms", hosts=("white_matter",), count=(2, 6), value=(0.35, 0.8)),
    "new_ms": LesionRecipe(
        kind="new_ms",
        hosts=("white_matter",),
        label="new_lesion",
        value=(0.35, 0.8),
        radius_mm=(2.5, 7),
    ),
    "dawm": LesionRecipe(
        kind="dawm",
        hosts=("white_matter",),
        label="dawm",
        count=(1, 3),
        radius_mm=(8, 18),
        value=(0.08, 0.2),
        edge_mm=4.0,
    ),
}


@dataclass(frozen=True)
class Lesion:
    """The truth of one lesion; it is one piece, and no other lesion touches it."""

    kind: Kind
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    volume_mm3: float


@dataclass(frozen=True, eq=False)
class Inserted:
    """Images and labels with lesions in them.

    Parameters
    ----------
    images : tuple of Image
        float32.
    labels : LabelMap
    instances : LabelMap
        Number of the lesion, from 1 in the order of `lesions`, that owns each voxel.
    lesions : tuple of Lesion
    """

    images: tuple[Image, ...]
    labels: LabelMap
    instances: LabelMap
    lesions: tuple[Lesion, ...]


@dataclass(frozen=True, eq=False)
class _Grown:
    """A lesion at its place: the depth below its border inside a box of voxels."""

    lesion: Lesion
    box: tuple[slice, ...]
    points: NDArray[np.float32]  # (3, n), world
    depth_mm: NDArray[np.float32]
    inside: Mask


def insert_lesions(
    images: Sequence[Image],
    labels: LabelMap,
    recipe: LesionRecipe,
    rng: np.random.Generator,
    *,
    signs: Sequence[float] | None = None,
) -> Inserted:
    """Put lesions into the images of a subject and into its labels.

    For a patient's image the edge stands for the point spread; for a synthetic one insert before
    `render.acquire`.

    Parameters
    ----------
    images : sequence of Image
        All on the grid of the labels.
    labels : LabelMap
    recipe : LesionRecipe
    rng : numpy.random.Generator
    signs : sequence of float, optional
        Factor of the contrast in each image (-1 where lesions are dark); by default 1, and for
        ``new_ms`` 0 in all images but the last.

    Returns
    -------
    Inserted

    Raises
    ------
    InputError
        If an image lies on another grid, if the labels hold none of the hosts, or if a lesion
        found no room.
    """
    host = _host(images, labels, recipe)
    if signs is None:
        earlier = 0.0 if recipe.kind == "new_ms" else 1.0
        signs = [earlier] * (len(images) - 1) + [1.0]
    arrays = [image.array.astype(np.float32) for image in images]
    owner, lesions = np.zeros(labels.shape, np.int16), []
    for number in range(1, int(rng.integers(recipe.count[0], recipe.count[1] + 1)) + 1):
        grown = _grow(labels, host, recipe, rng)
        owner[grown.box][grown.inside] = number
        # lesions stay apart, so that each is one piece of the truth
        host[grown.box] &= ~ndimage.binary_dilation(grown.inside, TOUCHING, iterations=2)
        tissue = _tissue(grown, recipe, rng)
        for array, sign in zip(arrays, signs, strict=True):
            _change(array[grown.box], grown, tissue, recipe, sign)
        lesions.append(grown.lesion)
    return Inserted(
        tuple(image.with_array(array) for image, array in zip(images, arrays, strict=True)),
        _marked(labels, owner > 0, recipe.label),
        LabelMap(owner, labels.grid),
        tuple(lesions),
    )


def _host(images: Sequence[Image], labels: LabelMap, recipe: LesionRecipe) -> Mask:
    """Voxels that lesions may take."""
    if any(not image.grid.same_as(labels.grid) for image in images):
        raise InputError("images and labels lie on different grids: resample the labels first")
    names = [name for name in recipe.hosts if name in labels.names.values()]
    host = labels.mask(*names)
    if not host.any():
        raise InputError(
            f"no voxel for {recipe.kind} lesions: they grow in {', '.join(recipe.hosts)}; present: "
            f"{', '.join(labels.names.values()) or 'no named labels'}. Give other hosts"
        )
    return host


def _grow(labels: LabelMap, host: Mask, recipe: LesionRecipe, rng: np.random.Generator) -> _Grown:
    """Draw a rough ellipsoid around a voxel of the host, and keep what the host leaves of it."""
    room = np.flatnonzero(host)
    for _ in range(TRIES if room.size else 0):
        centre = np.unravel_index(int(rng.choice(room)), host.shape)
        radii = np.sort(rng.uniform(*recipe.radius_mm, size=3))
        reach = np.ceil(1.4 * radii[-1] / labels.spacing_mm).astype(int) + 3
        box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(centre, reach, strict=True))
        points, depth = _depth(labels, box, centre, radii, rng)
        pieces, _ = ndimage.label((depth > 0) & host[box])
        own = tuple(c - b.start for c, b in zip(centre, box, strict=True))
        inside = np.asarray(pieces == pieces[own]) & (pieces > 0)
        if inside.sum() >= LEAST_VOXELS and inside.sum() >= LEAST_SHARE * (depth > 0).sum():
            volume = float(inside.sum()) * labels.grid.voxel_mm3
            at = _three(labels.grid.world(centre))
            lesion = Lesion(recipe.kind, at, _three(radii), volume)
            return _Grown(lesion, box, points, depth, inside)
    raise InputError(
        f"found no room for a {recipe.kind} lesion with semi-axes of {recipe.radius_mm[0]:g} to "
        f"{recipe.radius_mm[1]:g} mm in {', '.join(recipe.hosts)} after {TRIES} tries: make "
        "lesions smaller or fewer"
    )


def _depth(
    labels: LabelMap,
    box: tuple[slice, ...],
    centre: tuple[np.intp, ...],
    radii_mm: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """World points (3, n) of a box and the depth below the border, in the shape of the box."""
    ranges = [np.arange(s.start, min(s.stop, n)) for s, n in zip(box, labels.shape, strict=True)]
    index = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1)
    offset = labels.grid.world(index) - labels.grid.world(centre)
    points = offset.reshape(-1, 3).T.astype(np.float32)
    turn = rotation(*rng.uniform(0, 180, size=3)).astype(np.float32)
    level = np.linalg.norm((turn @ points) / radii_mm[:, None].astype(np.float32), axis=0)
    size = float(radii_mm.mean())
    rough = 1 + ROUGHNESS * Waves.draw(rng, size, 2 * size)(points)
    depth = (1 - level * np.clip(rough, 0.7, 1.3)) * size
    return points, depth.reshape(index.shape[:3]).astype(np.float32)


def _tissue(
    grown: _Grown, recipe: LesionRecipe, rng: np.random.Generator
) -> float | NDArray[np.float32]:
    """HU or contrast inside a lesion; that of a mixed one varies over its box."""
    value = float(rng.uniform(*recipe.value))
    if recipe.kind != "mixed":
        return value
    share = smoothstep(Waves.draw(rng, 9, 16)(grown.points), -0.3, 0.3)  # as in bonekit.phantom
    soft = float(rng.uniform(*SOFT_HU))
    return np.asarray(value + share * (soft - value)).reshape(grown.depth_mm.shape)


def _change(
    array: NDArray[np.float32],
    grown: _Grown,
    tissue: float | NDArray[np.float32],
    recipe: LesionRecipe,
    sign: float,
) -> None:
    """Blend a lesion into the voxels of its box (in place)."""
    weight = smoothstep(grown.depth_mm, 0, recipe.edge_mm) * grown.inside
    if recipe.kind in ("lytic", "blastic", "mixed"):
        array += abs(sign) * weight * (tissue - array)
    else:
        array *= 1 + sign * weight * tissue


def _marked(labels: LabelMap, where: Mask, name: str) -> LabelMap:
    """Write a label, which gets the next free number if it has none."""
    names: dict[int, str] = dict(labels.names)
    known = {label: value for value, label in names.items()}
    value = known.get(name, max([*names, int(labels.array.max())]) + 1)
    names[value] = name
    kind = np.promote_types(labels.array.dtype, np.min_scalar_type(value))
    array = labels.array.astype(kind)
    array[where] = value
    return replace(labels, array=array, names=names)


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
