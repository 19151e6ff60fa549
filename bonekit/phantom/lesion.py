"""Lytic, blastic and mixed lesions in a bone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.phantom.bone import CORTEX, LESION, Bone
from bonekit.phantom.parameters import LesionParameters, check_choice
from bonekit.phantom.shapes import Array, Waves, ellipsoid, smoothstep

Site = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class LesionShape:
    """A lesion at its place in a bone's frame.

    Parameters
    ----------
    parameters : LesionParameters
    centre_mm : ndarray, (3,)
    waves : Waves
        Where a mixed lesion is lytic (positive) and blastic (negative).
    """

    parameters: LesionParameters
    centre_mm: NDArray[np.float64]
    waves: Waves

    @classmethod
    def place(
        cls, parameters: LesionParameters, bone: Bone, sites: Site, rng: np.random.Generator
    ) -> LesionShape:
        """Put a lesion at its site.

        Raises
        ------
        InputError
            If the bone has no such site or the lesion's centre lies outside the bone.
        """
        check_choice("lesion site", parameters.site, list(sites))
        centre = sites[parameters.site] + np.array(parameters.offset_mm)
        outside = float(bone.surface(centre.astype(np.float32)[:, None])[0])
        if outside >= 0:
            raise InputError(
                f"the lesion's centre, {list(parameters.offset_mm)} mm from the site "
                f"{parameters.site!r}, lies {outside:.1f} mm outside the bone; "
                "give a smaller offset_mm"
            )
        return cls(parameters, centre, Waves.draw(rng, 9, 16))

    def apply(
        self, p: Array, region: NDArray[np.uint8], density: Array
    ) -> tuple[NDArray[np.uint8], Array]:
        """Replace the bone (regions and densities (n,) at points (3, n)) inside the lesion."""
        distance = ellipsoid(p, self.centre_mm, self.parameters.radii_mm)
        taken = distance < 0
        if not self.parameters.breaks_cortex:
            taken &= region != CORTEX
        tumour = self._density(p[:, taken])
        edge = max(self.parameters.edge_mm, 1e-3)
        weight = smoothstep(-distance[taken], 0, edge)
        region, density = region.copy(), density.copy()
        region[taken] = LESION
        density[taken] += weight * (tumour - density[taken])
        return region, density

    def _density(self, p: Array) -> Array:
        lytic, blastic = self.parameters.lytic_g_cm3, self.parameters.blastic_g_cm3
        if self.parameters.kind == "mixed":
            share = smoothstep(self.waves(p), -0.3, 0.3)
        else:
            share = np.full(p.shape[1], self.parameters.kind == "lytic", np.float32)
        return np.asarray(blastic + share * (lytic - blastic), dtype=np.float32)
