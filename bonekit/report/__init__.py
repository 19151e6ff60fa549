"""The report of a run: one HTML file that needs nothing else to be read, shared or printed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from bonekit.image.writing import replacing
from bonekit.report import tables
from bonekit.report.landmarks import landmarks
from bonekit.report.pictures import in_order
from bonekit.report.text import bone_name, number, readable, rows, without_folders
from bonekit.result import Result

__all__ = ["bone_name", "number", "render", "rows", "without_folders", "write_report"]

SEVERITIES = ("error", "warning", "note")


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
        figures=list(in_order(figures)),
        summary=tables.summary(result),
        loads=tables.loads(result),
        criteria=tables.criteria(result),
        intact=tables.intact(result),
        sweep=tables.sweep(result),
        risk=tables.risk(result),
        calibration=tables.calibration(result),
        material=tables.material(result),
        tissues=tables.tissues(result),
        lesions=tables.lesions(result),
        places=tables.places(result),
        involved=tables.involved(result),
        masses=tables.masses(result),
        mesh=tables.mesh(result),
        balance=tables.balance_of(result.balance),
        parameters=tables.parameters,
        measures=rows(result.measures),
        landmarks=landmarks(result),
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
