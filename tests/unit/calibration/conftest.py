"""A scan with calibration rods, quick to make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from bonekit.image.volume import Grid, Image

# five rods of 0, 0.05, 0.1, 0.2 and 0.4 g/cm3 of K2HPO4, as the phantom generator shows them
RODS_HU = tuple(1330 * (1.06 * density + 0.0389) - 30 for density in (0.0, 0.05, 0.1, 0.2, 0.4))


@dataclass(frozen=True)
class Scene:
    """A trunk on a pad with rods on a table, quick to scan."""

    hu: tuple[float, ...] = RODS_HU
    pitch_mm: float = 24.0
    radius_mm: float = 8.0
    tilt: tuple[float, float] = (0.0, 0.0)  # mm along x and y for each mm along z
    bend_mm: float = 0.0  # how far the middle rod lies below the outer ones
    shift_mm: tuple[float, float] = (0.0, 0.0)  # of the row
    back_mm: float = 20.0  # where the trunk ends
    noise_HU: float = 15.0
    pad_HU: float = -80.0
    bubble_HU: float | None = None  # of a hole in the middle rod, 8 mm wide, at z = 0 to 8
    rods_end_mm: float = 1e9  # the rods reach up to this z, where air follows
    turn: str = "behind"  # where the rods lie: behind, in front of, left of, right of
    seed: int = 0
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 5.0)

    def axis(self, n: int) -> tuple[float, float]:
        """Place of a rod at z = 0."""
        middle = (len(self.hu) - 1) / 2
        bend = self.bend_mm * (1 - ((n - middle) / max(middle, 1)) ** 2)
        x = self.pitch_mm * (n - middle) + self.shift_mm[0]
        return x, 45.0 + bend + self.shift_mm[1]

    def scan(self) -> Image:
        """CT of 150 x 144 x 60 mm, the origin in its middle."""
        size = np.array([150.0, 144.0, 60.0])
        steps = np.array(self.spacing_mm)
        ni, nj, nk = (size / steps).astype(int)
        low = -(np.array([ni, nj, nk]) - 1) / 2 * steps
        fine = 3  # samples per voxel in plane
        x = (low[0] + (np.arange(ni * fine) - 1) * steps[0] / fine)[:, None]
        y = (low[1] + (np.arange(nj * fine) - 1) * steps[1] / fine)[None, :]
        generator = np.random.default_rng(self.seed)
        planes = []
        for k in range(nk):
            plane = self._plane(x, y, low[2] + k * steps[2])
            plane = ndimage.gaussian_filter(plane, 0.4 * fine)  # point spread: 1.4 mm wide
            coarse = plane.reshape(ni, fine, nj, fine).mean(axis=(1, 3))
            planes.append(coarse + generator.normal(0, self.noise_HU, coarse.shape))
        hu = np.clip(np.rint(np.stack(planes, axis=2)), -1024, 3071).astype(np.int16)
        return self._turned(hu, steps, low)

    def _turned(self, hu: np.ndarray, steps: np.ndarray, low: np.ndarray) -> Image:
        """The scan with what lies behind the patient moved elsewhere."""
        if self.turn in ("in front of", "right of"):
            hu = hu[:, ::-1]
        if self.turn in ("left of", "right of"):
            hu, steps, low = hu.transpose(1, 0, 2), steps[[1, 0, 2]], low[[1, 0, 2]]
        return Image(np.ascontiguousarray(hu), Grid.of(hu.shape, steps, low))

    def _plane(self, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        hu = np.full(np.broadcast_shapes(x.shape, y.shape), -1000.0)
        trunk = (x / 90) ** 2 + ((y - self.back_mm + 80) / 80) ** 2 < 1
        hu[trunk] = 50.0
        hu[np.hypot(x - 20, y + 30) < 14] = 1100.0  # a shaft, with its canal
        hu[np.hypot(x - 20, y + 30) < 8] = -40.0
        hu[(y > 30) & (y < 62) & (np.abs(x) < 70)] = self.pad_HU
        hu[np.broadcast_to((y > 62) & (y < 64), hu.shape)] = 150.0
        for n, value in enumerate(self.hu):
            x0, y0 = self.axis(n)
            near = np.hypot(x - x0 - self.tilt[0] * z, y - y0 - self.tilt[1] * z) < self.radius_mm
            hu[near] = value if z <= self.rods_end_mm else -1000.0
            if self.bubble_HU is not None and n == len(self.hu) // 2 and 0 <= z <= 8:
                hu[np.hypot(x - x0 - 2, y - y0) < 4] = self.bubble_HU
        return hu


@pytest.fixture
def scene() -> type[Scene]:
    """Scenes can be made of this."""
    return Scene


@pytest.fixture(scope="session")
def scan() -> Image:
    """Return a plain scan; tests only read it."""
    return Scene().scan()
