"""What a reader of a result must know first: the findings of all stages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bonekit.density import outside_range
from bonekit.fem.laws import site_mismatch
from bonekit.finished import Finished
from bonekit.result import Remark

STIFFEST_MPA = 30_000.0  # bone tissue itself has about 20 GPa (Bayraktar et al. 2004)
SAME_KVP = 1.0
FEW_BEYOND = 0.01  # of the bone's voxels may lie beyond the calibrated range without a word
ORDER = {"error": 0, "warning": 1, "note": 2}


def remarks(finished: Finished) -> tuple[Remark, ...]:
    """List the findings of all stages, the worst first."""
    found = [
        Remark(severity=f.severity, code=f.code, message=f.message)
        for f in finished.segmentation.findings
    ]
    found += [*_path(finished), *_calibration(finished), *_density(finished), *_laws(finished)]
    return tuple(sorted(found, key=lambda r: ORDER[r.severity]))


def _path(finished: Finished) -> Iterator[Remark]:
    """Say where the largest force of a nonlinear path is no peak."""
    if finished.peak is not None and finished.peak.reason == "end":
        end = finished.peak.strength.parameters["end_mm"]
        yield Remark(
            severity="warning",
            code="no-peak",
            message=f"the force still rose at {end:.3g} mm, where the path ends: the strength is "
            "what the bone bore by then, not its peak. Raise peak.end_mm",
        )


def _calibration(finished: Finished) -> Iterator[Remark]:
    line = finished.calibration
    if not line.calibrated:
        yield Remark(
            severity="warning",
            code="uncalibrated",
            message="the density is not calibrated: a default line from HU to density was used. "
            "Scanners differ by 20 % and the calibration moves the strength by more",
        )
    if finished.calibrating["method"] == "line":
        yield from _other_scanner(finished)
    for text in finished.calibrating["evidence"].get("remarks", ()):
        yield Remark(severity="note", code="calibration", message=text)
    if line.covariance is None:
        yield Remark(
            severity="note",
            code="no-error-bar",
            message="the calibration has no covariance, so the strength has no error bar",
        )


def _other_scanner(finished: Finished) -> Iterator[Remark]:
    """Compare a line with the scan it was used on."""
    line, scan = finished.calibration, finished.scan
    pairs = (("kVp", line.kVp, scan.get("kVp")), ("kernel", line.kernel, scan.get("kernel")))
    for name, of_line, of_scan in pairs:
        if not of_line or not of_scan:
            lacking = "calibration" if not of_line else "scan"
            yield Remark(
                severity="note",
                code=f"{name}-unknown".lower(),
                message=f"the {lacking} does not say its {name}, so that the line fits this scan "
                "could not be checked",
            )
    if line.kVp and scan.get("kVp") and abs(line.kVp - scan["kVp"]) > SAME_KVP:
        yield Remark(
            severity="warning",
            code="kvp-differs",
            message=f"the calibration was measured at {line.kVp:g} kVp and the scan at "
            f"{scan['kVp']:g} kVp: where another kVp changed the density by 10 %, the failure load "
            "changed by 14 % (Ataei et al. 2022)",
        )
    if line.kernel and scan.get("kernel") and line.kernel != scan["kernel"]:
        yield Remark(
            severity="warning",
            code="kernel-differs",
            message=f"the calibration was measured with kernel {line.kernel} and the scan made "
            f"with {scan['kernel']}: kernels change results by up to 20 % (Benca et al. 2020)",
        )


def _density(finished: Finished) -> Iterator[Remark]:
    hu, line = finished.bone_hu, finished.calibration
    outside = outside_range(hu, line)
    if outside is not None and sum(outside) > FEW_BEYOND * hu.size:
        below, above = (100 * n / hu.size for n in outside)
        assert line.range_HU is not None
        yield Remark(
            severity="note",
            code="beyond-calibration",
            message=f"{below:.0f} % of the bone is darker and {above:.0f} % brighter than the "
            f"{line.range_HU[0]:.0f} to {line.range_HU[1]:.0f} HU that the calibration was "
            "measured at; the line was extrapolated there",
        )
    if finished.scan.get("contrast_agent"):
        yield Remark(
            severity="warning",
            code="contrast-agent",
            message="the scan names a contrast agent: it raises HU, and density and strength too",
        )
    yield from _lost_regions(finished)
    lost = finished.problem.model.mesh.n_removed
    if lost:
        yield Remark(
            severity="note",
            code="pieces-dropped",
            message=f"{lost} elements hung apart from the bone and were dropped",
        )
    share = float(np.mean(finished.ash_density <= 0))
    if share > 0:
        yield Remark(
            severity="note",
            code="below-zero",
            message=f"{100 * share:.2g} % of the elements have no or negative ash density, which "
            "bone has not: fat, air, or a line that is too low",
        )


def _lost_regions(finished: Finished) -> Iterator[Remark]:
    """Name the regions that are too small or thin for a cube of their own."""
    mesh, labels = finished.problem.model.mesh, finished.segmentation.labels
    drawn = set(labels.names.values())  # bone cement is in no label
    for value, name in mesh.names.items():
        if name in drawn and labels.mask(name).any() and not (mesh.region == value).any():
            yield Remark(
                severity="warning",
                code="region-lost",
                message=f"no cube is mostly {name}, though the labels hold it: it is too small or "
                "thin for the edge of the cubes, and counts as what is around it",
            )


def _nodes_on_void(finished: Finished) -> int:
    """Count loaded and held nodes that no solid element touches."""
    problem = finished.problem
    void = [part.elements for part in problem.assigned.parts if part.treatment == "void"]
    if not void:
        return 0
    solid = np.delete(problem.model.mesh.elements, np.concatenate(void), axis=0)
    acting = [part.nodes for part in problem.load.constraints]
    acting += [part.nodes for part in problem.load.loads]
    return len(np.setdiff1d(np.concatenate(acting), solid))


def _laws(finished: Finished) -> Iterator[Remark]:
    problem = finished.problem
    elastic = problem.assigned.elastic
    clamped = elastic.n_floor + elastic.n_ceiling
    if clamped:
        yield Remark(
            severity="note",
            code="clamped",
            message=f"{clamped} elements had a density outside the range of the law and were "
            "clamped",
        )
    if elastic.n_extrapolated:
        yield Remark(
            severity="note",
            code="extrapolated",
            message=f"{elastic.n_extrapolated} elements had a density outside what the law was "
            "measured on; the law was extrapolated there",
        )
    for law in {part.law.name: part.law for part in problem.assigned.parts}.values():
        mismatch = site_mismatch(law, finished.segmentation.bone)
        if mismatch is not None:
            yield Remark(severity="warning", code="other-site", message=mismatch)
        if not law.verified:
            text = f"law {law.name}: {law.source}"
            yield Remark(severity="note", code="unverified-law", message=text)
    on_void = _nodes_on_void(finished)
    if on_void:
        yield Remark(
            severity="warning",
            code="load-on-void",
            message=f"{on_void} loaded or held nodes touch nothing but lesions that were given no "
            "stiffness",
        )
    too_stiff = int(np.count_nonzero(problem.model.E_MPa > STIFFEST_MPA))
    if too_stiff:
        yield Remark(
            severity="warning",
            code="too-stiff",
            message=f"{too_stiff} elements are stiffer than any bone tissue "
            f"({STIFFEST_MPA / 1000:.0f} GPa): law {problem.tissue.law.name} was measured on "
            f"{problem.tissue.law.site} and may not hold for this bone",
        )
