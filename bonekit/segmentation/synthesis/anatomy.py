"""Simple bodies as label maps: bones, a thigh, a brain, an organ in ultrasound.

They have the right tissues in roughly the right places, so that a network has something to learn;
nobody's anatomy is claimed. Real shapes come from `bonekit.phantom` or from a user's label maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.image import Grid, LabelMap
from bonekit.phantom.shapes import Array, Waves, cone, ellipsoid, rotation, smooth_union, sphere
from bonekit.segmentation.synthesis.recipe import MUSCLES

Shape = tuple[int, int, int]
Size = tuple[float, float, float]


def femur(shape: Shape, spacing_mm: Size, rng: np.random.Generator) -> LabelMap:
    """Draw a left proximal femur of capsules and spheres in a thigh: bone in fat and muscle."""
    canvas = _Canvas.of(shape, spacing_mm)
    scale = min(np.array(shape) * spacing_mm) / 144.0  # sizes below suit 144 mm
    canvas.fill("fat", ellipsoid(canvas.points, (0, 0, 0), _drawn(rng, (66, 64, 900), 3, scale)))
    muscle = ellipsoid(canvas.points, (0, 0, 0), _drawn(rng, (56, 54, 900), 3, scale))
    canvas.fill("muscle", muscle)
    turn = rotation(*rng.uniform(-12, 12, size=3)).astype(np.float32)
    p = turn @ canvas.points / np.float32(scale * rng.uniform(0.92, 1.08))
    head, knee, hip = (-25, 0, 38), (14, 0, -90), (14, 0, 16)
    shaft = cone(p, knee, hip, rng.uniform(12, 15), rng.uniform(14, 17))
    neck = cone(p, hip, head, rng.uniform(13, 16), rng.uniform(13, 16))
    bone = smooth_union(shaft, neck, 6.0)
    bone = smooth_union(bone, sphere(p, head, rng.uniform(20, 24)), 4.0)
    bone = smooth_union(bone, sphere(p, (20, 2, 24), rng.uniform(12, 15)), 5.0)
    canvas.fill("cortex", bone)
    # the shaft's cortex is thick, that of the head a shell
    thick = np.where(p[2] < 0, rng.uniform(4, 6), rng.uniform(1.5, 3)).astype(np.float32)
    canvas.fill("trabecular", bone + thick)
    return canvas.labels(("fat", "muscle", "cortex", "trabecular"))


# Middle of each muscle in a left thigh: left and back in shares of the radius; typical.
PLACES: Mapping[str, tuple[float, float]] = dict(
    zip(
        MUSCLES,
        [
            (-0.55, -0.55),
            (0.08, -0.78),
            (0.66, -0.28),
            (0.22, -0.38),
            (-0.42, -0.25),
            (-0.38, 0.32),
            (-0.78, 0.12),
            (0.30, 0.66),
            (-0.04, 0.78),
            (-0.32, 0.68),
            (0.44, 0.36),
        ],
        strict=True,
    )
)


def thigh(shape: Shape, spacing_mm: Size, rng: np.random.Generator) -> LabelMap:
    """Draw a left thigh: eleven muscles around the shaft, under a layer of fat."""
    canvas = _Canvas.of(shape, spacing_mm)
    radius = 0.46 * min(np.array(shape[:2]) * spacing_mm[:2])
    wide, deep = radius * rng.uniform(0.9, 1.0, size=2)
    share = rng.uniform(0.75, 0.9)
    x, y = canvas.points[0] / np.float32(wide), canvas.points[1] / np.float32(deep)
    reach = np.hypot(x, y)
    canvas.fill("fat", reach - 1)
    bend = [Waves.draw(rng, 1.2 * radius, 2.5 * radius)(canvas.points) for _ in range(2)]
    u, v = (c / np.float32(share) + np.float32(0.05) * b for c, b in zip((x, y), bend, strict=True))
    places = np.array(list(PLACES.values())) + rng.normal(0, 0.03, size=(len(PLACES), 2))
    away = np.stack([np.hypot(u - a, v - b) for a, b in places])
    nearest = away.argmin(axis=0)
    first, second = np.partition(away, 1, axis=0)[:2]
    reach = np.where(second - first < 0.03, share, reach)  # fat between the muscles
    for number, name in enumerate(PLACES):
        own = (nearest == number) & (reach < share)
        canvas.fill(name, np.where(own, -1, 1))
    bone = radius * rng.uniform(0.16, 0.2)
    middle = (0.08 * radius, 0.02 * radius)
    shaft = np.hypot(canvas.points[0] - middle[0], canvas.points[1] - middle[1])
    canvas.fill("cortex", shaft - bone)
    canvas.fill("trabecular", shaft - 0.55 * bone)
    return canvas.labels(("fat", *MUSCLES, "cortex", "trabecular"))


def brain(shape: Shape, spacing_mm: Size, rng: np.random.Generator) -> LabelMap:
    """Draw a brain: white matter in wavy grey matter, ventricles, CSF and scalp."""
    canvas = _Canvas.of(shape, spacing_mm)
    radii = 0.46 * np.array(shape) * spacing_mm * rng.uniform(0.92, 1.0, size=3)
    size = float(radii.min())
    canvas.fill("fat", ellipsoid(canvas.points, (0, 0, 0), radii))
    folds = Waves.draw(rng, 0.3 * size, 0.7 * size)(canvas.points)
    for name, share, wave in (
        ("csf", 0.9, 0.0),
        ("grey_matter", 0.84, 0.02),
        ("white_matter", 0.7, 0.06),
    ):
        level = ellipsoid(canvas.points, (0, 0, 0), share * radii)
        canvas.fill(name, level + np.float32(wave * size) * folds)
    turn = rng.uniform(0.85, 1.15, size=3)
    for side in (-1, 1):
        middle = np.array([0.16 * side, 0.05, 0.05]) * radii
        horn = ellipsoid(canvas.points, middle, np.array([0.08, 0.3, 0.16]) * radii * turn)
        canvas.fill("csf", horn)
    return canvas.labels(("fat", "csf", "grey_matter", "white_matter"))


def organ(shape: Shape, spacing_mm: Size, rng: np.random.Generator) -> LabelMap:
    """Draw a lumpy target with vessels around it, as ultrasound would meet it."""
    canvas = _Canvas.of(shape, spacing_mm)
    extent = np.array(shape) * spacing_mm
    for _ in range(int(rng.integers(2, 5))):
        start, stop = (rng.uniform(-0.5, 0.5, size=3) * extent for _ in range(2))
        width = rng.uniform(0.03, 0.06) * extent.min()
        canvas.fill("vessel", cone(canvas.points, start, stop, width, width))
    middle = rng.uniform(-0.12, 0.12, size=3) * extent
    radii = rng.uniform(0.2, 0.34, size=3) * extent
    turn = rotation(*rng.uniform(-20, 20, size=3)).astype(np.float32)
    lumps = Waves.draw(rng, 0.6 * radii.min(), 1.6 * radii.min())(canvas.points)
    level = ellipsoid(turn @ canvas.points, turn @ middle, radii)
    canvas.fill("target", level + np.float32(0.07 * radii.min()) * lumps)
    return canvas.labels(("vessel", "target"))


@dataclass(frozen=True, eq=False)
class _Canvas:
    """A grid around the origin on which solids are painted, the last one on top."""

    grid: Grid
    points: Array  # (3, n)
    names: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, shape: Shape, spacing_mm: Size) -> _Canvas:
        middle = -(np.array(shape) - 1) / 2 * spacing_mm
        grid = Grid.of(shape, spacing_mm, middle)
        return cls(grid, grid.points().reshape(-1, 3).T.astype(np.float32), {})

    def fill(self, name: str, level: NDArray[np.floating[Any] | np.integer[Any]]) -> None:
        """Paint a tissue where the level is below zero."""
        own = np.asarray(level < 0)
        for other in self.names:
            self.names[other] = self.names[other] & ~own
        self.names[name] = self.names.get(name, np.zeros_like(own)) | own

    def labels(self, order: tuple[str, ...]) -> LabelMap:
        array = np.zeros(self.points.shape[1], np.uint8)
        for value, name in enumerate(order, start=1):
            array[self.names[name]] = value
        return LabelMap(array.reshape(self.grid.shape), self.grid, dict(enumerate(order, start=1)))


def _drawn(
    rng: np.random.Generator, sizes: Size, spread: float, scale: float
) -> NDArray[np.float64]:
    return np.asarray((np.array(sizes) + rng.uniform(-spread, spread, size=3)) * scale)
