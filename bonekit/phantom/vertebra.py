"""A lumbar vertebra as a function of space.

Frame: the origin is the centre of the vertebral body, x to the patient's left, y to the back, z up
along the spine. Sizes that are no parameter are typical adult values of L3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit.phantom.bone import Sphere
from bonekit.phantom.parameters import VertebraParameters
from bonekit.phantom.shapes import (
    Array,
    Waves,
    box,
    cone,
    dot,
    flattened,
    radial,
    rotation,
    smooth_intersection,
    smooth_union,
    smoothstep,
)

Float = NDArray[np.float64]
TIP_MM = 3.0  # of the spinous process, whose middle is its tip
FACET_NORMAL = (0.8, -0.6, 0.0)  # of the left superior facet, into its process


@dataclass(frozen=True, eq=False)
class VertebraShape:
    """A vertebra, symmetric about its middle plane.

    Parameters
    ----------
    parameters : VertebraParameters
    waves : Waves
        Texture of the spongiosa.
    """

    parameters: VertebraParameters
    waves: Waves

    @property
    def back(self) -> float:
        """The y of the body's posterior wall."""
        return self.parameters.depth_mm / 2

    @property
    def pitch_mm(self) -> float:
        """Distance to the same point of the next vertebra."""
        return self.parameters.height_mm + self.parameters.disc_mm

    @cached_property
    def pedicle_x(self) -> float:
        """The x of the left pedicle's middle."""
        return (self.parameters.canal_width_mm + self.parameters.pedicle_width_mm) / 2

    @property
    def _arch(self) -> float:
        """The y of the canal's posterior wall."""
        return self.back + self.parameters.canal_depth_mm

    def column(self, p: Array, waist_mm: float) -> Array:
        """Distance to the column of bodies and discs: a kidney-shaped cross-section."""
        par = self.parameters
        inset = np.float32(waist_mm) * np.cos(np.pi * p[2] / np.float32(par.height_mm)) ** 2
        a, b = par.width_mm / 2 - inset, par.depth_mm / 2 - np.float32(0.7) * inset
        x, y = np.abs(p[0]) / a, np.abs(p[1]) / b
        level = (x**2.4 + y**2.4) ** (1 / 2.4)
        return radial(np.hypot(p[0], p[1]), level, par.depth_mm / 2)

    def canal(self, p: Array) -> Array:
        """Distance to the spinal canal, an elliptic tube."""
        par = self.parameters
        a, b = par.canal_width_mm / 2, par.canal_depth_mm / 2 + 0.75
        x, y = p[0], p[1] - np.float32(self.back + par.canal_depth_mm / 2 - 0.75)
        return radial(np.hypot(x, y), np.hypot(x / np.float32(a), y / np.float32(b)), b)

    def body(self, p: Array) -> Array:
        """Signed distance to the vertebral body."""
        par = self.parameters
        reach = np.hypot(p[0] / np.float32(par.width_mm / 2), p[1] / np.float32(par.depth_mm / 2))
        bowl = np.float32(par.endplate_concavity_mm) * (1 - smoothstep(reach, 0.1, 0.9))
        plates = np.abs(p[2]) - (np.float32(par.height_mm / 2) - bowl)
        return smooth_intersection(self.column(p, par.waist_mm), plates, 3.0)

    def surface(self, p: Array) -> Array:
        """Signed distance to the outer surface (see `Bone`)."""
        q = np.stack([np.abs(p[0]), p[1], p[2]])
        arch = smooth_union(self._pedicle(q), self._lamina(q), 4.0)
        arch = smooth_union(arch, self._processes(q), 4.0)
        arch = smooth_union(arch, self._facets(q), 2.0)
        whole = smooth_union(self.body(p), arch, 4.0)
        return smooth_intersection(whole, -self.canal(p), 2.0)

    def _pedicle(self, q: Array) -> Array:
        x, y = self.pedicle_x, self.back
        height = 0.25 * self.parameters.height_mm
        flat = flattened(q, (1, 0, 0), (x, 0, 0), self.parameters.pedicle_width_mm / (2 * height))
        return cone(flat, (x, y - 7, 5), (x, y + 8, 4), height, height)

    def _lamina(self, q: Array) -> Array:
        x, y = self.pedicle_x, self._arch
        flat = flattened(q, (0.45, 0.893, 0), (x - 3, y + 2, 0), 0.5)
        plate = cone(flat, (x - 3, y + 1.5, -3), (2, y + 8, -7), 7.5, 8.0)
        pillar = cone(q, (x + 0.5, self.back + 8, 4), (x - 3, y + 1, -9), 5.5, 5.5)
        return smooth_union(plate, pillar, 3.0)

    def _processes(self, q: Array) -> Array:
        """Spinous and transverse processes."""
        x, half = self.pedicle_x, self.parameters.spinous_length_mm / 2
        spinous = box(
            q, (0, self._arch + 6 + half, -10), rotation(-8, 0, 0), (3.4, half + 2, 8.5), 3.0
        )
        tip = self.parameters.transverse_span_mm / 2 - 3.5
        thin = flattened(q, (0, 1, 0), (0, self.back + 8, 0), 0.75)
        transverse = cone(thin, (x + 1, self.back + 7, 4), (tip, self.back + 14, 7), 6.0, 4.5)
        return smooth_union(spinous, transverse, 1.0)

    def _facets(self, q: Array) -> Array:
        """Articular processes, cut flat along the plane of the facet joint."""
        x, y = self.pedicle_x, self.back
        pitch, arch = self.pitch_mm, self._arch
        superior = cone(q, (x + 1.5, y + 9, 5), (x + 3, y + 11, 19), 6.5, 5.5)
        inferior = cone(q, (x - 4, arch, -8), (x - 4.5, arch - 0.5, 13 - pitch), 6.5, 5.5)
        middle = (x - 0.8, (y + 11 + arch - 0.5) / 2)
        level = FACET_NORMAL[0] * middle[0] + FACET_NORMAL[1] * middle[1]
        plane = dot(q, FACET_NORMAL) - np.float32(level)
        half = np.float32(self.parameters.facet_gap_mm / 2)
        superior = smooth_intersection(superior, half - plane, 1.0)
        inferior = smooth_intersection(inferior, half + plane, 1.0)
        return np.asarray(np.minimum(superior, inferior))

    def _posterior(self, p: Array) -> Array:
        """0 in the body, 1 in the posterior elements."""
        return smoothstep(p[1], self.back - 3, self.back + 5)

    def cortex_mm(self, p: Array) -> Array:
        """Thickness: a thin shell around the body, thicker posterior elements."""
        thin, thick = self.parameters.cortex_mm, self.parameters.posterior_cortex_mm
        return np.asarray(np.float32(thin) + self._posterior(p) * np.float32(thick - thin))

    def cortical(self, p: Array) -> Array:
        """Density of the cortex, 25 % lower in the body's shell."""
        share = np.float32(0.75) + np.float32(0.25) * self._posterior(p)
        return np.asarray(np.float32(self.parameters.cortical_g_cm3) * share)

    def trabecular(self, p: Array) -> Array:
        """Density: higher towards the endplates, the back and the pedicles."""
        low, high = self.parameters.trabecular_g_cm3
        plates = smoothstep(np.abs(p[2]) / np.float32(self.parameters.height_mm / 2), 0.3, 1.0)
        behind = smoothstep(p[1], -self.back, self.back + 8)
        share = np.maximum(np.float32(0.7) * plates + np.float32(0.3) * behind, self._posterior(p))
        density = low + share * (high - low)
        density *= 1 + np.float32(self.parameters.texture) * self.waves(p)
        return np.asarray(np.maximum(density, 0), dtype=np.float32)

    def sites(self) -> dict[str, Float]:
        """Places for a lesion."""
        par, b = self.parameters, self.back
        return {
            "body": np.zeros(3),
            "body_anterior": np.array([0.0, -0.55 * b, 0.0]),
            "body_posterior": np.array([0.0, 0.5 * b, 0.0]),
            "superior_endplate": np.array([0.0, 0.0, 0.3 * par.height_mm]),
            "inferior_endplate": np.array([0.0, 0.0, -0.3 * par.height_mm]),
            "left_pedicle": np.array([self.pedicle_x, b, 4.5]),
            "right_pedicle": np.array([-self.pedicle_x, b, 4.5]),
        }

    def spheres(self) -> list[Sphere]:
        """Spheres that together reach as far as the bone does."""
        par, b, x = self.parameters, self.back, self.pedicle_x
        points = [
            ((0.0, -b, 0.0), 0.0),
            ((0.0, 0.0, par.height_mm / 2), 0.0),
            ((0.0, 0.0, -par.height_mm / 2), 0.0),
            ((x + 3, b + 11, 19.0), 6.0),
            ((x - 4.5, self._arch, 13 - self.pitch_mm), 6.0),
            ((par.transverse_span_mm / 2 - 3.5, b + 14, 7.0), 4.5),
            ((-par.transverse_span_mm / 2 + 3.5, b + 14, 7.0), 4.5),
            ((0.0, self._arch + 6 + par.spinous_length_mm, -12.0), 9.0),
        ]
        return [(np.array(centre), radius) for centre, radius in points]

    def landmarks(self) -> dict[str, Float]:
        """Points in the vertebra's frame."""
        par = self.parameters
        plate = par.height_mm / 2 - par.endplate_concavity_mm
        return {
            "body_centre_mm": np.zeros(3),
            "superior_endplate_mm": np.array([0.0, 0.0, plate]),
            "inferior_endplate_mm": np.array([0.0, 0.0, -plate]),
            "canal_centre_mm": np.array([0.0, self.back + par.canal_depth_mm / 2 - 0.75, 0.0]),
            "left_pedicle_mm": np.array([self.pedicle_x, self.back, 4.5]),
            "right_pedicle_mm": np.array([-self.pedicle_x, self.back, 4.5]),
            "spinous_process_tip_mm": self.spinous_process_tip,
            "spinous_tip_mm": np.array([0.0, self._arch + 8 + par.spinous_length_mm, -12.0]),
        }

    @cached_property
    def spinous_process_tip(self) -> Float:
        """Behind the middle of the rearmost `TIP_MM` of the spinous process."""
        end, step = self._arch + 8 + self.parameters.spinous_length_mm, 0.25
        low, high = np.array([-5.0, end - 8, -35.0]), np.array([5.0, end + 4, 10.0])
        axes = [np.arange(a, b, step, dtype=np.float32) for a, b in zip(low, high, strict=True)]
        p = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
        inside = p[:, self.surface(p) < 0]
        rear = float(inside[1].max()) + step / 2
        x, _, z = inside[:, inside[1] > rear - TIP_MM].mean(axis=1, dtype=np.float64)
        return np.array([x, rear, z])
