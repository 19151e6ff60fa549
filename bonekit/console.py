"""What the command line shows: progress while it works, the answer when it is done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bonekit import DISCLAIMER

if TYPE_CHECKING:
    from bonekit.fem.materials import Law
    from bonekit.pipeline import Progress
    from bonekit.result import Result


def say(result: Result, folder: Path) -> None:
    """Print the answer, warnings first."""
    for remark in result.remarks:
        if remark.severity != "note":
            print(f"{remark.severity}: {remark.message}", file=sys.stderr)
    synthetic = " (synthetic phantom)" if result.synthetic else ""
    error = result.strength_error
    interval = ""
    if error is not None:
        interval = f" ({error.low_N / 1000:.2f} to {error.high_N / 1000:.2f} by {error.rests_on})"
    print(
        f"{result.bone}{synthetic}: strength {result.strength_N / 1000:.2f} kN{interval}, "
        "stiffness "
        f"{result.stiffness_N_mm / 1000:.2f} kN/mm, {result.load_case.name.replace('_', ' ')}"
    )
    for other in result.other_loads:
        print(
            f"  {other.load_case.name.replace('_', ' ')}: strength {other.strength_N / 1000:.2f} kN"
        )
    print(f"report: {folder / 'report.html'}")
    print(DISCLAIMER)


def show_laws(laws: Iterable[Law]) -> None:
    """Print a table of density-modulus laws, those of one bone together."""
    from rich.console import Console
    from rich.table import Table

    from bonekit.fem.laws import SITE_GROUPS, site_group

    table = Table(title="E (and strength S) in MPa of the density rho in g/cm3", show_lines=True)
    for name in ("name", "density", "formula", "g/cm3", "site", "source"):
        table.add_column(name, no_wrap=name in ("name", "density"))
    for law in sorted(laws, key=lambda law: SITE_GROUPS.index(site_group(law))):
        cells = (_formula(law), _range(law), law.site, _sources(law))
        table.add_row(law.name, "any" if law.constant else str(law.kind), *cells)
    console = Console()
    if not console.is_terminal:
        console = Console(width=280)  # a file or a pipe: one line for each law
    console.print(table)


def _formula(law: Law) -> str:
    lines = ["E = " + " | ".join(str(piece) for piece in law.pieces)]
    if law.strength is not None:
        tension = f" (tension {law.tensile_strength})" if law.tensile_strength else ""
        lines.append(f"S = {law.strength}{tension}")
    if law.yield_strain is not None:
        strain = law.yield_strain
        lines.append(f"yields at {100 * strain.compression:g} % (tension {100 * strain.tension:g})")
    if law.post_yield:
        lines.append("softens: " + ", ".join(after.region for after in law.post_yield))
    return "\n".join(lines)


def _range(law: Law) -> str:
    span = "any" if law.constant else f"{law.low:.4g} to {law.high:.4g}"
    if law.valid is None:
        return span
    return f"{span}\nmeasured: {law.valid[0]:g} to {law.valid[1]:g}"


def _sources(law: Law) -> str:
    strain = law.yield_strain.source if law.yield_strain else ""
    softening = law.post_yield[0].source if law.post_yield else ""
    others = {"S": law.strength_source, "range": law.valid_source, "yield": strain}
    others["softening"] = softening
    lines = [f"{name}: {text}" for name, text in others.items() if text not in ("", law.source)]
    return "\n".join([law.source, *lines])


@contextmanager
def bar() -> Iterator[Progress]:
    """Show progress on a terminal; a line for each stage elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:>11}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, int] = {}

        def progress(stage: str, fraction: float, text: str) -> None:
            for other, task in tasks.items():
                if other != stage:
                    shown.update(task, completed=1.0)  # type: ignore[arg-type]
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=1.0, text=text)
                if not console.is_terminal:
                    console.print(f"{stage}: {text}")
            shown.update(tasks[stage], completed=fraction, text=text)  # type: ignore[arg-type]

        yield progress
