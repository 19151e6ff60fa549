"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping

from bonekit.report.text import Row, number, readable, rows, share, signed
from bonekit.result import (
    Balance,
    CalibrationResult,
    IntactResult,
    LesionResult,
    Method,
    OtherLoad,
    Result,
    StrengthErrorResult,
    VertebralResult,
)

BALANCED = 1e-4  # relative; a check above it is marked

MAPPINGS = {
    "modulus": "mean of the law over the element",
    "density": "law at the mean density of the element",
    "centroid": "law at the density of the element's middle",
    "nodal": "mean of the law at the element's corners",
}
CALIBRATIONS = {
    "default": "none: a default line was used",
    "line": "a line known for the scanner",
    "rods": "rods in the scan",
    "internal": "the patient's own tissues",
}
CORTEX = {
    "as_seen": "none: as the scanner shows it",
    "peel": "outermost voxels get the density beneath them",
    "profile": "fitted along the normals of the surface",
}
TREATMENTS = {
    "density": "as healthy bone",
    "law": "law of its own",
    "fixed": "one modulus",
    "void": "no stiffness",
}


def parameters(method: Method) -> list[Row]:
    """Parameters of a method."""
    return rows(method.parameters)


def summary(result: Result) -> dict[str, str]:
    """Return the answer in words."""
    return {
        "strength": f"{result.strength_N / 1000:.2f}",
        "strength_N": number(float(round(result.strength_N))),
        "interval": _interval(result.strength_error),
        "stiffness": number(result.stiffness_N_mm),
        "applied": number(result.applied_force_N),
    }


def _interval(error: StrengthErrorResult | None) -> str:
    if error is None:
        return ""
    return f"{error.low_N / 1000:.2f} to {error.high_N / 1000:.2f} kN"


def loads(result: Result) -> list[tuple[str, str, str, str, str]]:
    """Return the answers of all loads: load, strength, interval, stiffness, criterion."""
    answers: tuple[Result | OtherLoad, ...] = (result, *result.other_loads)
    return [
        (
            readable(one.load_case.name).capitalize(),
            f"{one.strength_N / 1000:.2f} kN",
            _interval(one.strength_error) or "not known",
            f"{number(one.stiffness_N_mm)} N/mm",
            readable(one.criterion.name),
        )
        for one in answers
    ]


def criteria(result: Result) -> list[tuple[str, str, str]]:
    """Return the strength by each criterion: criterion, strength, definition."""
    return [
        (
            readable(one.name),
            f"{one.strength_N / 1000:.2f} kN",
            f"{one.description} Source: {one.source}.",
        )
        for one in result.criteria
    ]


def intact(result: Result) -> str:
    """Say what the lesions cost."""
    if result.intact is None:
        return ""
    it = result.intact
    lost = f"cost {it.lost:.1%} of it" if it.lost >= 0 else f"add {-it.lost:.1%} to it"
    like = "that around them" if it.mirror_share is None else "that of the other side"
    return (
        f"With its lesions filled by bone like {like} ({it.filled_ml:.1f} ml, the rim "
        f"included) this bone would bear {it.strength_N / 1000:.2f} kN by linear analysis: the "
        f"lesions {lost}.{_scored(it)}"
    )


def _scored(it: IntactResult) -> str:
    if it.location_score is None:
        return ""
    return (
        f" That is {it.location_score} of 3 points on the scale of strength by which Damron et al. "
        "(2023) score the place of a lesion (over 75 % left one, over 50 % two)."
    )


def sweep(result: Result) -> str:
    """Say how the strength changes with the direction of the force."""
    if result.sweep is None:
        return ""
    it = result.sweep
    stance = it.weakest_flexion_deg is not None
    angle = it.weakest_flexion_deg if stance else it.weakest_rotation_deg
    return (
        f"Over {len(it.strengths_N)} directions of the force the strength "
        f"({readable(it.criterion)}) is lowest, {it.minimum_N / 1000:.2f} kN, at an adduction of "
        f"{it.weakest_adduction_deg:g}° and {'a flexion' if stance else 'an internal rotation'} "
        f"of {angle:g}°; under the {'stance' if stance else 'fall'} itself it is "
        f"{it.central_N / 1000:.2f} kN. {it.source}."
    )


def risk(result: Result) -> list[tuple[str, str, str, str]]:
    """Return the risk figures: figure, value, published threshold, study."""
    lines = []
    for figure in result.risk:
        value = "needs " + figure.missing if figure.value is None else number(figure.value)
        for n, it in enumerate(figure.thresholds):
            study = "; ".join(part for part in (it.source, it.size) if part)
            if it.sensitivity is not None and it.specificity is not None:
                study += f"; sensitivity {it.sensitivity:g} %, specificity {it.specificity:g} %"
            name = f"{figure.name} ({figure.definition})" if n == 0 else ""
            shown = f"{value} {figure.unit}".rstrip() if n == 0 else ""
            limit = f"broke {it.at_risk} {number(it.value)} {figure.unit}".rstrip()
            lines.append((name, shown, limit, study))
    return lines


def calibration(result: Result) -> list[Row]:
    """Return the line from HU to density, and what is known of it."""
    line = result.calibration
    sign = "+" if line.intercept_g_cm3 >= 0 else "\N{MINUS SIGN}"
    formula = (
        f"density = {number(line.slope_g_cm3_per_HU)} g/cm³ per HU · HU {sign} "
        f"{number(abs(line.intercept_g_cm3))} g/cm³"
    )
    found = [
        Row("Calibrated", number(line.calibrated), CALIBRATIONS[line.method]),
        Row("Line", formula, f"{readable(line.kind)} density"),
        Row("Source", line.source),
        *_errors(line),
        *_range(line),
    ]
    scanned = [number(line.kVp) + " kVp"] if line.kVp else []
    scanned += [f"kernel {line.kernel}"] if line.kernel else []
    found.append(Row("Measured at", ", ".join(scanned) or "not stated"))
    return found + rows({k: v for k, v in line.evidence.items() if k != "remarks"})


def _errors(line: CalibrationResult) -> list[Row]:
    if line.covariance is None or line.ash_error_g_cm3 is None:
        return [Row("Standard errors", "not known")]
    slope, intercept = (line.covariance[n][n] ** 0.5 for n in (0, 1))
    return [
        Row(
            "Standard errors",
            f"slope {slope / line.slope_g_cm3_per_HU:.1%}, intercept {number(intercept)} g/cm³",
        ),
        Row("Error of the bone's mean ash density", f"{number(line.ash_error_g_cm3)} g/cm³"),
    ]


def _range(line: CalibrationResult) -> list[Row]:
    if line.range_HU is None or line.n_below_range is None or line.n_above_range is None:
        return [Row("Measured range", "not stated", "Extrapolation can't be counted.")]
    low, high = (number(float(round(end))) for end in line.range_HU)
    return [
        Row("Measured range", f"{low} to {high} HU", "Beyond it the line is extrapolated."),
        Row("Bone voxels below it", share(line.n_below_range, line.n_bone_voxels)),
        Row("Bone voxels above it", share(line.n_above_range, line.n_bone_voxels)),
    ]


def material(result: Result) -> list[Row]:
    """Return density and modulus of the elements."""
    it = result.material
    cortex = {k: v for k, v in it.cortex.items() if k != "method"}
    return [
        Row("Ash density of the elements", f"{_spread(it.ash_density_g_cm3)} g/cm³"),
        Row("Young's modulus of the elements", f"{_spread(it.E_MPa)} MPa"),
        Row("Modulus of an element", MAPPINGS[it.mapping]),
        Row("Poisson's ratio", number(it.nu)),
        Row(
            "Elements raised to the lower density limit",
            share(it.n_floor, result.mesh.n_elements),
            "Less dense than the law is made for: marrow, fat, or a wrong calibration.",
        ),
        Row(
            "Elements lowered to the upper density limit",
            share(it.n_ceiling, result.mesh.n_elements),
            "Denser than the law is made for: metal, contrast agent, or a wrong calibration.",
        ),
        Row("Correction of the cortex", CORTEX[it.cortex["method"]]),
        *rows({f"cortex: {name}": value for name, value in cortex.items()}),
    ]


def _spread(values: Mapping[str, float]) -> str:
    return ", ".join(f"{readable(name)} {number(value)}" for name, value in values.items())


def tissues(result: Result) -> list[list[str]]:
    """Elements by law: region, law, treatment, elements, clamped, extrapolated."""
    return [
        [
            readable(part.region),
            readable(part.law),
            TREATMENTS[part.treatment],
            number(part.n_elements),
            number(part.n_floor + part.n_ceiling),
            "not known" if part.n_extrapolated is None else number(part.n_extrapolated),
        ]
        for part in result.material.tissues
    ]


def lesions(result: Result) -> list[list[str]]:
    """Lesions: number, kind, volume, density, density around, centre."""
    return [
        [
            str(lesion.number),
            lesion.kind,
            number(lesion.volume_ml),
            number(lesion.ash_density_g_cm3),
            "none" if lesion.healthy_g_cm3 is None else number(lesion.healthy_g_cm3),
            ", ".join(number(float(round(x))) for x in lesion.centre_mm),
        ]
        for lesion in result.lesions
    ]


def places(result: Result) -> list[list[str]]:
    """Places of the lesions: number, region, side, height, cortex along and around, width, score.

    Empty where they are not known.
    """
    return [
        [
            str(lesion.number),
            _region(lesion),
            readable(lesion.sector),
            "not known"
            if lesion.axial_mm is None
            else " to ".join(number(float(round(x))) for x in lesion.axial_mm),
            *_cortical(lesion),
            _mirels(lesion),
        ]
        for lesion in result.lesions
        if lesion.region
    ]


def involved(result: Result) -> list[list[str]]:
    """Parts of a vertebra that its lesions took: number, body, walls, sides, item of SINS.

    The first line is of all lesions together, the level's.
    """
    told = [("all", result.level)]
    told += [(str(lesion.number), lesion.vertebral) for lesion in result.lesions]
    return [[name, *_taken(it)] for name, it in told if it is not None]


def _taken(it: VertebralResult) -> list[str]:
    shares = (it.body, it.circumference, it.posterior_wall)
    sides = ((it.left_pedicle, it.right_pedicle), (it.left_arch, it.right_arch))
    pairs = [" / ".join("-" if s is None else f"{s:.0%}" for s in pair) for pair in sides]
    return [*(f"{share:.0%}" for share in shares), *pairs, it.posterolateral]


def _region(lesion: LesionResult) -> str:
    """Regions that hold at least a tenth of a lesion, the largest share first."""
    shares = sorted(lesion.regions.items(), key=lambda item: -item[1])
    named = [f"{readable(name)} {share:.0%}" for name, share in shares if share >= 0.1]
    return readable(lesion.region) if len(named) < 2 else ", ".join(named)


def _cortical(lesion: LesionResult) -> list[str]:
    it = lesion.cortical
    if it is None:
        return ["not known"] * 3
    along = f"{it.axial_mm:.0f} \N{PLUS-MINUS SIGN} {it.error_mm:.0f}" if it.axial_mm else "0"
    return [along, f"{it.circumference:.0%}", f"{it.width:.0%}"]


def _mirels(lesion: LesionResult) -> str:
    it = lesion.mirels
    if it is None:
        return "none"
    pain = "pain not given" if it.pain is None else f"pain {it.pain}"
    parts = f"site {it.site}, kind {it.kind}, size {it.size}, {pain}"
    return parts if it.score is None else f"{parts}: {it.score} of 12"


def masses(result: Result) -> list[Row]:
    """Ash mass on its way from the image to the mesh."""
    it = result.material.mineral
    found = [
        Row("In the image", f"{number(it.image_g)} g", "With what blur spilled around the bone."),
        Row("In the segmented voxels", f"{number(it.mask_g)} g"),
        Row("On the mesh", f"{number(it.mesh_g)} g"),
    ]
    if it.mask_g > 0:
        text = "What the mesh gained or lost of the mass in the segmented voxels."
        found.append(Row("Difference", signed(it.mesh_g / it.mask_g - 1), text))
    for name, part in it.regions.items():
        if not (part.mask_g or part.mesh_g):
            continue
        values = f"{number(part.mask_g)} g in voxels, {number(part.mesh_g)} g on the mesh"
        means = f"{number(part.mask_density_g_cm3)} and {number(part.mesh_density_g_cm3)} g/cm³"
        found.append(Row(readable(name).capitalize(), values, f"Mean density {means}."))
    return found


def mesh(result: Result) -> list[Row]:
    """Size of the it."""
    it = result.mesh
    change = signed(it.volume_ml / it.label_volume_ml - 1)
    return [
        Row("Edge of the cubic elements", f"{number(it.edge_mm)} mm"),
        Row("Elements", number(it.n_elements)),
        Row("Nodes", number(it.n_nodes)),
        Row("Volume of the mesh", f"{number(it.volume_ml)} ml"),
        Row("Volume of the segmentation", f"{number(it.label_volume_ml)} ml", f"mesh: {change}"),
        *(
            Row(f"Volume of {readable(name)}", f"{number(volume)} ml")
            for name, volume in it.region_volume_ml.items()
        ),
    ]


def balance_of(it: Balance) -> list[tuple[str, str, bool, str]]:
    """Name, value, whether it is small enough, and what it means."""
    checks = (
        (
            "Residual",
            it.residual,
            "Force that the solver left out of balance, as a share of the load.",
        ),
        (
            "Force balance",
            it.force_balance,
            "Loads and reactions must cancel: what holds the bone carries what presses on it.",
        ),
        (
            "Energy balance",
            it.energy_balance,
            "The work of the load must equal the energy stored in the bone.",
        ),
    )
    return [(name, f"{value:.1e}", abs(value) < BALANCED, text) for name, value, text in checks]
