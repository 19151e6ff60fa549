"""Femora and vertebrae of the phantoms as masks in any pose, with their true landmarks."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from bonekit.image.volume import Grid
from bonekit.phantom.femur import FemurShape
from bonekit.phantom.parameters import FemurParameters, VertebraParameters
from bonekit.phantom.sampling import random_femur, random_vertebra
from bonekit.phantom.shapes import Waves, cone, smooth_union
from bonekit.phantom.vertebra import VertebraShape

KNEE_MM = 380.0  # below the neck, of the condyles
CONDYLE_MM = (23.0, 26.0, 18.0)  # beside the axis, behind it, radius
# their rears are where the plane that touches both balls does, see bonekit.anatomy.condyles
_KNEE = {
    f"{side}_condyle": np.array([sign * CONDYLE_MM[0], sum(CONDYLE_MM[1:]), -KNEE_MM])
    for side, sign in (("medial", -1.0), ("lateral", 1.0))
}


@dataclass(frozen=True, eq=False)
class Posed:
    """A femur in the world: first turned, then mirrored if it is a right one, then moved."""

    parameters: FemurParameters
    turn: np.ndarray
    shift: np.ndarray
    knee: bool = False
    lesion: tuple[str, float] | None = None  # site and radius of a hole in the mask

    @property
    def shape(self) -> FemurShape:
        return _shape(self.parameters)

    @property
    def mirror(self) -> np.ndarray:
        return np.array([1.0 if self.parameters.side == "left" else -1.0, 1.0, 1.0])

    def world(self, points: np.ndarray) -> np.ndarray:
        return ((points - self.shape.head) @ self.turn.T) * self.mirror + self.shift

    def direction(self, vector: np.ndarray) -> np.ndarray:
        return (np.asarray(vector, float) @ self.turn.T) * self.mirror

    def landmarks(self) -> dict[str, np.ndarray]:
        local = self.shape.landmarks() | _KNEE
        return {name: self.world(point) for name, point in local.items()}

    def _inside(self, p: np.ndarray) -> np.ndarray:
        p = p.astype(np.float32)
        distance = self.shape.surface(p)
        low = -KNEE_MM - 30.0 if self.knee else self.shape.distal_end()[2]
        if self.knee:
            beside, behind, radius = CONDYLE_MM
            for x in (-beside, beside):
                part = cone(p, (x, 4, -KNEE_MM - 5), (x, behind, -KNEE_MM), radius, radius)
                distance = smooth_union(distance, part, 8.0)
        inside = (distance < 0) & (p[2] > low)
        if self.lesion is not None:
            site, radius_mm = self.lesion
            centre = (self.shape.sites() | _KNEE)[site].astype(np.float32)
            inside &= np.linalg.norm(p - centre[:, None], axis=0) > radius_mm
        return inside

    def mask(self, grid: Grid) -> np.ndarray:
        local = ((grid.points().reshape(-1, 3) - self.shift) * self.mirror) @ self.turn
        local += self.shape.head
        near = self._near(local)
        inside = np.zeros(len(local), dtype=bool)
        inside[near] = self._inside(local[near].T)
        return inside.reshape(grid.shape)

    def _near(self, p: np.ndarray) -> np.ndarray:
        """Where bone may be: the box round a slanting femur holds mostly air."""
        beside = np.hypot(p[:, 0], p[:, 1])
        ends = (p[:, 2] > -100.0) | (p[:, 2] < 60.0 - KNEE_MM)
        return (beside < 30.0) | (ends & (beside < 110.0))

    def grid(self, spacing_mm: float = 1.5, direction: np.ndarray | None = None) -> Grid:
        """Grid round the bone, its axes along `direction`."""
        axes = np.eye(3) if direction is None else direction
        spheres = [(self.world(c), r) for c, r in self.shape.spheres()]
        if self.knee:
            spheres.append((self.world(np.array([0.0, 10.0, -KNEE_MM])), 50.0))
        low = np.min([c @ axes - r for c, r in spheres], axis=0) - 6.0
        high = np.max([c @ axes + r for c, r in spheres], axis=0) + 6.0
        i, j, k = (int(n) for n in np.ceil((high - low) / spacing_mm))
        return Grid.of((i, j, k), spacing_mm, axes @ low, axes)


@lru_cache
def _shape(parameters: FemurParameters) -> FemurShape:
    return FemurShape(parameters, Waves.draw(np.random.default_rng(0), 3, 9))


def random_pose(seed: int, **more: object) -> Posed:
    """A random femur; every other one lies anyhow, the others as in a scanner."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=rng)
    if more.get("knee"):  # a box round a slanting femur is large
        turn = Rotation.from_euler("xyz", rng.uniform(-6, 6, 3), degrees=True)
    elif seed % 2:
        turn = Rotation.from_euler("xyz", rng.uniform(-30, 30, 3), degrees=True)
    return Posed(random_femur(rng), turn.as_matrix(), rng.uniform(-200, 200, 3), **more)


def flexed_pose(seed: int, flexion_deg: float, **more: object) -> Posed:
    """A random femur, turned by up to 30 degrees about any axis, of a limb flexed at the hip."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(rng.uniform(0, 30) * axis / np.linalg.norm(axis), degrees=True)
    turn = Rotation.from_euler("x", flexion_deg, degrees=True) * turn
    femur = replace(random_femur(rng), **more.pop("femur", {}))
    return Posed(femur, turn.as_matrix(), rng.uniform(-200, 200, 3), **more)


@dataclass(frozen=True, eq=False)
class PosedVertebra:
    """A vertebra in the world, turned and moved."""

    parameters: VertebraParameters
    turn: np.ndarray
    shift: np.ndarray
    lesion: tuple[str, float] | None = None  # site and radius of a hole in the mask

    @property
    def shape(self) -> VertebraShape:
        return VertebraShape(self.parameters, Waves.draw(np.random.default_rng(0), 3, 9))

    def world(self, points: np.ndarray) -> np.ndarray:
        return points @ self.turn.T + self.shift

    def landmarks(self) -> dict[str, np.ndarray]:
        return {name: self.world(point) for name, point in self.shape.landmarks().items()}

    def mask(self, grid: Grid) -> np.ndarray:
        p = ((grid.points().reshape(-1, 3) - self.shift) @ self.turn).T.astype(np.float32)
        inside = self.shape.surface(p) < 0
        if self.lesion is not None:
            centre = self.shape.sites()[self.lesion[0]].astype(np.float32)
            inside &= np.linalg.norm(p - centre[:, None], axis=0) > self.lesion[1]
        return inside.reshape(grid.shape)

    def grid(self, spacing_mm: float = 1.0, direction: np.ndarray | None = None) -> Grid:
        axes = np.eye(3) if direction is None else direction
        spheres = [(self.world(c), r) for c, r in self.shape.spheres()]
        low = np.min([c @ axes - r for c, r in spheres], axis=0) - 14.0
        high = np.max([c @ axes + r for c, r in spheres], axis=0) + 14.0
        i, j, k = (int(n) for n in np.ceil((high - low) / spacing_mm))
        return Grid.of((i, j, k), spacing_mm, axes @ low, axes)


def posed_vertebra(seed: int, **more: object) -> PosedVertebra:
    """A random lumbar vertebra, turned by up to 25 degrees about each axis."""
    rng = np.random.default_rng(seed)
    turn = Rotation.from_euler("xyz", rng.uniform(-25, 25, 3), degrees=True)
    return PosedVertebra(random_vertebra(rng), turn.as_matrix(), rng.uniform(-200, 200, 3), **more)
