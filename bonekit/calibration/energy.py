"""The photon energy at which tabulated HU fit best to measured ones, with gain and offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from bonekit.calibration.attenuation import equivalent_hu, tissue_hu
from bonekit.density import Covariance, DensityKind

Float = NDArray[np.float64]
SEARCHED_KEV = (28.0, 180.0)


@dataclass(frozen=True, eq=False)
class EnergyMatch:
    """``HU = gain * tabulated HU at an energy + offset``.

    Parameters
    ----------
    energy_keV, gain, offset_HU : float
    covariance : ndarray, (3, 3)
        Of the three, in this order.
    """

    energy_keV: float
    gain: float
    offset_HU: float
    covariance: Float

    def shown(self, names: Sequence[str]) -> Float:
        """HU that the scanner shows of tabulated materials, (n,)."""
        return self.gain * _tabulated(names, self.energy_keV) + self.offset_HU

    def line(self, kind: DensityKind) -> tuple[float, float]:
        """Slope (g/cm3 per HU) and intercept (g/cm3) of the line a phantom would give.

        The phantom shows ``HU = gain * s(energy) * density + offset`` (`equivalent_hu`).
        """
        slope, intercept = _line(self._fitted, kind)
        return float(slope), float(intercept)

    def line_covariance(self, kind: DensityKind) -> Covariance:
        """Covariance of slope and intercept, by the delta method."""
        steps = np.diag([0.1, 1e-4, 0.1])
        at = self._fitted
        jacobian = np.column_stack(
            [(_line(at + h, kind) - _line(at - h, kind)) / (2 * h.sum()) for h in steps]
        )
        (a, b), (c, d) = (jacobian @ self.covariance @ jacobian.T).tolist()
        return (a, (b + c) / 2), ((b + c) / 2, d)

    @property
    def _fitted(self) -> Float:
        return np.array([self.energy_keV, self.gain, self.offset_HU])


def match_energy(names: Sequence[str], measured_HU: Float, errors_HU: Float) -> EnergyMatch:
    """Fit energy, gain and offset to the HU of tabulated materials.

    The energy is sought over 28 to 180 keV in steps, then refined together with gain and offset by
    weighted least squares. The covariance is that of the stated errors alone.

    Parameters
    ----------
    names : sequence of str, (n,)
        Of `attenuation.MATERIALS`; three or more, among them one rich in minerals.
    measured_HU, errors_HU : ndarray, (n,)
        And their standard errors.
    """

    def off(p: Float) -> Float:
        return np.asarray((measured_HU - p[1] * _tabulated(names, p[0]) - p[2]) / errors_HU)

    low, high = SEARCHED_KEV
    tried = np.arange(low + 2, high, 4.0)
    shown = np.stack([tissue_hu(name, tried) for name in names])
    misfit = (((measured_HU - shown.T) / errors_HU) ** 2).sum(axis=1)
    best = float(tried[misfit.argmin()])
    bounds = ([low, -np.inf, -np.inf], [high, np.inf, np.inf])
    found = least_squares(
        off, [best, 1.0, 0.0], jac="3-point", bounds=bounds, x_scale=(10.0, 0.01, 10.0)
    )
    jacobian = np.asarray(found.jac, dtype=np.float64)
    spread = np.asarray(np.linalg.inv(jacobian.T @ jacobian), dtype=np.float64)
    energy, gain, offset = (float(value) for value in found.x)
    return EnergyMatch(energy, gain, offset, spread)


def _tabulated(names: Sequence[str], energy_keV: float) -> Float:
    return np.array([float(tissue_hu(name, energy_keV)) for name in names])


def _line(fitted: Float, kind: DensityKind) -> Float:
    """Slope and intercept (2,) from energy, gain and offset."""
    energy, gain, offset = fitted
    slope = 1.0 / (gain * float(equivalent_hu(kind, energy)))
    return np.array([slope, -offset * slope])
