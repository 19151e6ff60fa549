"""The line from HU to density through the rods of a phantom, with its covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.calibration.measure import Rod
from bonekit.calibration.tables import RodTable
from bonekit.density import Calibration, Covariance
from bonekit.errors import CalibrationError

LEAST_R2 = 0.98
# What a scan of 80 to 140 kVp can show of any table, in g/cm3 per HU and g/cm3 at 0 HU. Attenuation
# of hydroxyapatite and K2HPO4 in water from 40 to 120 keV (Elam tables, xraydb 4.5.8) gives slopes
# of 0.0003 to 0.0015; scanners show water at 0 HU, and the bases of phantoms are no more than about
# 100 HU from it (assumed).
SLOPES, MOST_AT_ZERO = (0.0003, 0.0015), 0.08
# Two directions of the row that fit as well as each other can't be told apart.
SAME_R2 = 0.001
# Mindways: what K2HPO4 displaces of water, and water itself, in mg/cm3 (QCT PRO User Guide 5.0,
# equations 4 and 5, as documented by ogo.readthedocs.io, ogo.calibration.mindways_calibration).
_SIGMA_SHIFT, _BETA_SHIFT = -0.2174, 999.6

Float = NDArray[np.float64]


@dataclass(frozen=True)
class LineFit:
    """``density = slope * HU + intercept`` through the rods.

    Parameters
    ----------
    slope, intercept : float
        g/cm3 per HU, g/cm3.
    covariance : tuple of tuple of float, (2, 2)
        Of slope and intercept.
    r2 : float
        Of the regression; 1 by construction for two rods, see `remarks`.
    residuals_g_cm3 : tuple of float
        Measured minus stated density of each rod, from the patient's right to left.
    range_HU : tuple of float, (2,)
        Lowest and highest rod; beyond it the line is extrapolated.
    densities_g_cm3 : tuple of float
        Stated densities from the patient's right to left.
    rods : tuple of Rod
    table : RodTable
    reversed : bool
        True where the table's first rod lies at the patient's left.
    """

    slope: float
    intercept: float
    covariance: Covariance
    r2: float
    residuals_g_cm3: tuple[float, ...]
    range_HU: tuple[float, float]
    densities_g_cm3: tuple[float, ...]
    rods: tuple[Rod, ...]
    table: RodTable
    reversed: bool

    @property
    def first(self) -> str:
        """Where the row begins: "right", or "front" for rods that lie beside the patient."""
        x, y, _ = np.abs(np.subtract(self.rods[-1].centre_mm, self.rods[0].centre_mm))
        return "right" if x >= y else "front"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of this fit."""
        said = []
        if len(self.rods) == 2:
            said.append(
                "two rods always lie on a line: R2 is 1 by construction and no evidence, and there "
                "are no residuals; the errors are those of the rods' noise and of the certificate "
                f"({self.table.tolerance_g_cm3:g} g/cm3 stated)"
            )
        for n, rod in enumerate(self.rods, 1):
            if not rod.seen:
                said.append(
                    f"rod {n} can't be told from its surroundings; it was measured where the "
                    "pitch of the others puts it"
                )
            if rod.n_dropped:
                said.append(
                    f"rod {n}: {rod.n_dropped} of {rod.n_dropped + rod.n_slices} slices left out "
                    "(cut, with a bubble or a gap, or unlike the others)"
                )
        return tuple(said)

    @property
    def slope_error(self) -> float:
        """Standard error of the slope, g/cm3 per HU."""
        return float(np.sqrt(self.covariance[0][0]))

    @property
    def intercept_error(self) -> float:
        """Standard error of the intercept, g/cm3."""
        return float(np.sqrt(self.covariance[1][1]))

    def calibration(self) -> Calibration:
        """Return the line as the calibration of a scan.

        Raises
        ------
        CalibrationError
            If slope or intercept is not plausible.
        """
        low, high = self.range_HU
        r2 = "no residuals" if len(self.rods) == 2 else f"R2 {self.r2:.5f}"
        source = (
            f"{len(self.rods)} rods in the scan (table {self.table.name}: {self.table.source}), "
            f"{r2}, {low:.0f} to {high:.0f} HU"
        )
        return Calibration(
            self.slope,
            self.intercept,
            self.table.kind,
            source,
            covariance=self.covariance,
            range_HU=self.range_HU,
        )


def calibrate(rods: Sequence[Rod], table: RodTable) -> LineFit:
    """Fit the line from HU to density.

    Density is regressed on HU. Rods with a water-equivalent density (Mindways) are fitted in the
    maker's form, ``HU - water = sigma_ref * density + beta_ref``, which is then turned into the
    line of bone in the body, ``HU = (sigma_ref - 0.2174) * density + beta_ref + 999.6`` (mg/cm3;
    QCT PRO User Guide 5.0). The covariance is that of the regression; its residual variance is
    not taken smaller than what the noise of the rods' mean HU and the tolerance of the table
    explain; of two rods, which leave no residual, it is that alone.

    Parameters
    ----------
    rods : sequence of Rod
        From the patient's right to left, see `find_rods`.
    table : RodTable
        The row may lie either way round: the direction of the higher R2 is taken.

    Raises
    ------
    CalibrationError
        If the number of rods is not the table's; if HU fall with density; if R2 is below 0.98
        (another phantom, or rods taken for others); if the line is not one that a scanner can
        show; if both directions fit equally well.
    """
    if len(rods) != len(table.densities_g_cm3):
        raise CalibrationError(
            f"{len(rods)} rods were measured, table {table.name} lists "
            f"{len(table.densities_g_cm3)}, and a line needs at least 2: give the densities of "
            "the rods that are there"
        )
    both = [one_way(tuple(rods), table, flipped) for flipped in (False, True)]
    rising = sorted((fit for fit in both if fit.slope > 0), key=lambda fit: -fit.r2)
    if not rising:
        raise CalibrationError(
            f"the wrong sign: HU {_list([rod.mean_HU for rod in rods], '.0f')} along the row don't "
            f"rise with density {_list(table.densities_g_cm3, 'g')} in either direction. Is this "
            "the phantom of the table?"
        )
    best = rising[0]
    _check_fit(best)
    if len(rising) == 2 and best.r2 - rising[1].r2 < SAME_R2 and not _palindrome(table):
        raise CalibrationError(
            f"the order of the rods is ambiguous: R2 is {best.r2:.5f} one way round and "
            f"{rising[1].r2:.5f} the other. Give the line in the case file"
        )
    return best


def _check_fit(fit: LineFit) -> None:
    if not fit.r2 >= LEAST_R2:
        pairs = ", ".join(
            f"{rod.mean_HU:.0f} HU = {density:g}"
            for rod, density in zip(fit.rods, fit.densities_g_cm3, strict=True)
        )
        raise CalibrationError(
            f"the rods don't lie on a line: R2 is {fit.r2:.4f}, at least {LEAST_R2} is needed "
            f"({pairs} g/cm3). Is this the phantom of table {fit.table.name}, in its order?"
        )

    if not plausible(fit):
        raise CalibrationError(
            f"the rods give a line that no scanner shows: {fit.slope:.3g} g/cm3 per HU (allowed: "
            f"{SLOPES[0]:g} to {SLOPES[1]:g}) and {fit.intercept:.3g} g/cm3 at 0 HU, which is "
            f"water (allowed: {-MOST_AT_ZERO:g} to {MOST_AT_ZERO:g}). Is this the phantom of table "
            f"{fit.table.name}, or were other things taken for rods?"
        )


def plausible(fit: LineFit) -> bool:
    """Whether a line is one that a scanner can show."""
    return SLOPES[0] <= fit.slope <= SLOPES[1] and abs(fit.intercept) <= MOST_AT_ZERO


def _palindrome(table: RodTable) -> bool:
    return table.densities_g_cm3 == table.densities_g_cm3[::-1]


def _list(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def one_way(rods: tuple[Rod, ...], table: RodTable, flipped: bool) -> LineFit:
    """Fit with the table one way round, whatever the line may be."""
    step = -1 if flipped else 1
    density = np.array(table.densities_g_cm3[::step])
    hu = np.array([rod.mean_HU for rod in rods])
    sem = np.array([rod.sem_HU for rod in rods])
    if np.ptp(hu) == 0:
        raise CalibrationError(f"all {len(rods)} rods measure {hu[0]:.0f} HU: no line through them")
    if table.water_g_cm3 is None:
        noise = np.hypot(_slope(hu, density) * sem, table.tolerance_g_cm3)
        fitted, covariance, r2 = _regress(hu, density, noise)
        residuals = fitted[0] * hu + fitted[1] - density
    else:
        water = np.array(table.water_g_cm3[::step])
        fitted, covariance, r2, residuals = _mindways(
            hu, density, water, sem, table.tolerance_g_cm3
        )
    (a, b), (c, d) = covariance.tolist()
    return LineFit(
        slope=float(fitted[0]),
        intercept=float(fitted[1]),
        covariance=((a, b), (c, d)),
        r2=r2,
        residuals_g_cm3=tuple(residuals.tolist()),
        range_HU=(float(hu.min()), float(hu.max())),
        densities_g_cm3=tuple(density.tolist()),
        rods=rods,
        table=table,
        reversed=flipped,
    )


def _slope(x: Float, y: Float) -> float:
    """Least-squares slope of y over x."""
    return float(np.polyfit(x, y, 1)[0])


def _regress(x: Float, y: Float, noise: Float) -> tuple[Float, Float, float]:
    """Least squares y = p0 x + p1: coefficients (2,), covariance (2, 2) and R2.

    The variance of the residuals is at least that of the noise, the standard deviation of each y.
    """
    matrix = np.column_stack([x, np.ones_like(x)])
    inverse = np.linalg.inv(matrix.T @ matrix)
    fitted = inverse @ matrix.T @ y
    rest = float(((y - matrix @ fitted) ** 2).sum())
    variance = max(rest / (len(x) - 2) if len(x) > 2 else 0.0, float(np.mean(noise**2)))
    return fitted, variance * inverse, 1 - rest / float(((y - y.mean()) ** 2).sum())


def _mindways(
    hu: Float, density: Float, water: Float, sem: Float, tolerance: float
) -> tuple[Float, Float, float, Float]:
    """Fit in the maker's form: line (2,), covariance (2, 2), R2, residuals in g/cm3."""
    above = hu - 1000 * water
    noise = np.hypot(sem, 1000 * tolerance * _slope(1000 * density, above))
    fitted, covariance, r2 = _regress(1000 * density, above, noise)
    residuals = (above - fitted[1]) / fitted[0] / 1000 - density
    sigma, beta = fitted[0] + _SIGMA_SHIFT, fitted[1] + _BETA_SHIFT
    line = np.array([1.0, -beta]) / sigma / 1000
    # d(slope, intercept) / d(sigma, beta)
    jacobian = np.array([[-1 / sigma**2, 0.0], [beta / sigma**2, -1 / sigma]]) / 1000
    return line, jacobian @ covariance @ jacobian.T, r2, residuals


def expected_hu(fit: LineFit, density_g_cm3: float, water_g_cm3: float | None) -> float:
    """HU that a rod of a density should show by a fit through others."""
    if water_g_cm3 is None:
        return (density_g_cm3 - fit.intercept) / fit.slope
    sigma = 1 / (1000 * fit.slope) - _SIGMA_SHIFT
    beta = -fit.intercept / fit.slope - _BETA_SHIFT
    return 1000 * water_g_cm3 + sigma * 1000 * density_g_cm3 + beta
