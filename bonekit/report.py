"""The report of a run: one HTML file that needs nothing else to be read, shared or printed."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from bonekit.image.writing import replacing
from bonekit.result import Balance, Method, Result

SEVERITIES = ("error", "warning", "note")
BALANCED = 1e-4  # relative; a check above it is marked

# Suffixes of names that state a unit, the longest first.
UNITS = {
    "g_cm3_per_HU": "g/cm³ per HU",
    "g_cm3": "g/cm³",
    "N_mm": "N/mm",
    "mm2": "mm²",
    "mm3": "mm³",
    "deg": "°",
    "kVp": "kVp",
    "MPa": "MPa",
    "GPa": "GPa",
    "HU": "HU",
    "kN": "kN",
    "MB": "MB",
    "mm": "mm",
    "ml": "ml",
    "N": "N",
    "g": "g",
    "s": "s",
}

# The folders of a path, but not the slashes of units (g/cm3) and of addresses (https://...).
_FOLDERS = re.compile(
    r"(?<![\w./\\])(?:file://|[A-Za-z]:|~|\.{1,2}|\\)?[\\/](?:[^\s\\/:'\"()]+[\\/])+"
)
_MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"  # apart the thousands


class Picture(NamedTuple):
    """What a figure is called in the report, and says to those who can't see it."""

    title: str
    caption: str
    alt: str


PICTURES: dict[str, Picture] = {
    "overlay": Picture(
        "Segmentation",
        "Three planes of the CT with the outline of each region, all at one scale; grey shows "
        "-200 to 1000 HU.",
        "Coronal, sagittal and axial planes of the CT with the outlines of the segmented regions.",
    ),
    "levels": Picture(
        "Segmentation, level by level",
        "Five axial planes from the top of the bone down; the dashed lines show where they lie.",
        "Five axial planes of the CT with the outlines of the segmented regions.",
    ),
    "load": Picture(
        "Load case",
        "Where the bone is loaded and where it is held. The arrow shows the direction of the "
        "load of the calculation; the strength follows from it in proportion.",
        "Surface of the bone with arrows at the loaded area and the held area in blue.",
    ),
    "modulus": Picture(
        "Stiffness of the bone",
        "Young's modulus of the elements, from the density in the CT; logarithmic scale.",
        "Cuts through the mesh coloured by Young's modulus.",
    ),
    "strain": Picture(
        "Where it would fail",
        "Strain as a share of its limit at the strength load. Red elements are over the limit.",
        "Cuts through the mesh and its surface coloured by strain over its limit.",
    ),
}


class Row(NamedTuple):
    """A line of a table: name, value with its unit, and what it means."""

    name: str
    value: str
    meaning: str = ""


def write_report(path: str | Path, result: Result, figures: Mapping[str, bytes]) -> None:
    """Write the report of a run as one HTML file.

    Parameters
    ----------
    path : str or Path
        The file appears only when it is complete.
    result : Result
    figures : mapping of str to bytes
        PNG by name; the names of `PICTURES` bring their captions and come first, in that order.
    """
    text = render(result, figures)
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(result: Result, figures: Mapping[str, bytes]) -> str:
    """Return the report as HTML; see `write_report`."""
    return _template().render(
        result=result,
        bone=bone_name(result.bone),
        remarks=sorted(result.remarks, key=lambda remark: SEVERITIES.index(remark.severity)),
        figures=list(_pictures(figures)),
        summary=_summary(result),
        material=_material(result),
        masses=_masses(result),
        mesh=_mesh(result),
        balance=_balance(result.balance),
        parameters=_parameters,
        measures=rows(result.measures),
        scan=rows(result.scan),
        minutes=sum(stage.seconds for stage in result.stages if not stage.reused) / 60,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("bonekit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {"number": number, "readable": readable}
    return environment.get_template("report.html.j2")


def _finalize(value: Any) -> Any:
    """Guard every plain text that goes into the page."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return without_folders(value) if plain else value


def without_folders(text: str) -> str:
    """Cut the folders off every file path in a text: they may name a patient."""
    return _FOLDERS.sub("", text)


def number(value: Any) -> str:
    """Write a value with four digits and the thousands apart; lists by their entries."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", _THIN)
    if isinstance(value, float):
        if value == 0 or 1e-4 <= abs(value) < 1e7:
            digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
            return digits.replace(",", _THIN).replace("-", _MINUS)
        return f"{value:.2e}".replace("-", _MINUS)
    if isinstance(value, Mapping):
        return ", ".join(f"{readable(str(k))} {number(v)}" for k, v in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(number(entry) for entry in value)
    return str(value)


def readable(name: str) -> str:
    """Turn an identifier into words."""
    return name.replace("_", " ")


def bone_name(bone: str) -> str:
    """Name a bone in words: ``femur_left`` is "Left femur", ``vertebra_L3`` is "Vertebra L3"."""
    kind, _, which = bone.partition("_")
    return f"{which} {kind}".capitalize() if which in ("left", "right") else readable(bone).title()


def rows(values: Mapping[str, Any]) -> list[Row]:
    """Table of named values; the unit is taken from the end of the name."""
    return [Row(*_with_unit(name, value)) for name, value in values.items()]


def _with_unit(name: str, value: Any) -> tuple[str, str]:
    for suffix, unit in UNITS.items():
        if name.endswith(f"_{suffix}") or name == suffix:
            words = readable(name.removesuffix(suffix).rstrip("_")) or unit
            return words, f"{number(value)} {unit}"
    return readable(name), number(value)


def _parameters(method: Method) -> list[Row]:
    return rows(method.parameters)


def _summary(result: Result) -> dict[str, str]:
    return {
        "strength": f"{result.strength_N / 1000:.2f}",
        "strength_N": number(float(round(result.strength_N))),
        "stiffness": number(result.stiffness_N_mm),
        "applied": number(result.applied_force_N),
    }


def _range(values: Mapping[str, float]) -> str:
    return ", ".join(f"{readable(name)} {number(value)}" for name, value in values.items())


MAPPINGS = {
    "density": "of its mean density",
    "modulus": "mean of the moduli of its points",
}


def _material(result: Result) -> list[Row]:
    material = result.material
    return [
        Row("Ash density of the elements", f"{_range(material.ash_density_g_cm3)} g/cm³"),
        Row("Young's modulus of the elements", f"{_range(material.E_MPa)} MPa"),
        Row("Modulus of an element", MAPPINGS[material.mapping]),
        Row("Poisson's ratio", number(material.nu)),
        Row(
            "Elements raised to the lower density limit",
            _share(material.n_floor, result.mesh.n_elements),
            "Less dense than the law is made for: marrow, fat, or a wrong calibration.",
        ),
        Row(
            "Elements lowered to the upper density limit",
            _share(material.n_ceiling, result.mesh.n_elements),
            "Denser than the law is made for: metal, contrast agent, or a wrong calibration.",
        ),
    ]


def _share(part: int, whole: int) -> str:
    return f"{number(part)} of {number(whole)} ({part / whole:.1%})"


def _masses(result: Result) -> list[Row]:
    on_mesh, in_mask = result.material.bone_mineral_g, result.material.bone_mineral_in_mask_g
    rows = [
        Row("In the segmented voxels", f"{number(in_mask)} g"),
        Row("On the mesh", f"{number(on_mesh)} g"),
    ]
    if in_mask > 0:
        change = f"{on_mesh / in_mask - 1:+.1%}".replace("-", _MINUS)
        rows.append(Row("Difference", change, "What the mesh gained or lost of the bone's mass."))
    return rows


def _mesh(result: Result) -> list[Row]:
    mesh = result.mesh
    change = f"{mesh.volume_ml / mesh.label_volume_ml - 1:+.1%}".replace("-", _MINUS)
    return [
        Row("Edge of the cubic elements", f"{number(mesh.edge_mm)} mm"),
        Row("Elements", number(mesh.n_elements)),
        Row("Nodes", number(mesh.n_nodes)),
        Row("Volume of the mesh", f"{number(mesh.volume_ml)} ml"),
        Row("Volume of the segmentation", f"{number(mesh.label_volume_ml)} ml", f"mesh: {change}"),
        *(
            Row(f"Volume of {readable(name)}", f"{number(volume)} ml")
            for name, volume in mesh.region_volume_ml.items()
        ),
    ]


def _balance(balance: Balance) -> list[tuple[str, str, bool, str]]:
    """Name, value, whether it is small enough, and what it means."""
    checks = (
        (
            "Residual",
            balance.residual,
            "Force that the solver left out of balance, as a share of the load.",
        ),
        (
            "Force balance",
            balance.force_balance,
            "Loads and reactions must cancel: what holds the bone carries what presses on it.",
        ),
        (
            "Energy balance",
            balance.energy_balance,
            "The work of the load must equal the energy stored in the bone.",
        ),
    )
    return [(name, f"{value:.1e}", abs(value) < BALANCED, text) for name, value, text in checks]


def _pictures(figures: Mapping[str, bytes]) -> Iterable[tuple[Picture, Markup]]:
    """Pictures with their bytes as base64, the known ones first."""
    known = [name for name in PICTURES if name in figures]
    for name in known + [name for name in figures if name not in PICTURES]:
        words = readable(name).capitalize()
        picture = PICTURES.get(name, Picture(words, "", words))
        yield picture, Markup(base64.b64encode(figures[name]).decode("ascii"))
