"""Every load case on a synthetic bone, drawn on one sheet: see docs/load_cases.md."""

import sys
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image as Picture
from PIL import ImageDraw

import bonekit
from bonekit.fem.cement import loaded_mesh
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.flexion import CombinedLoad, ForwardFlexion
from bonekit.fem.loadcases import Loading
from bonekit.fem.muscles import MuscleLoad
from bonekit.fem.named_loads import NamedLoad
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.simulation import Problem
from bonekit.fem.stance import CONVENTIONS, SingleLegStance
from bonekit.figures import load_drawing
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom, vertebra_phantom

HELD = (("distal_face", ("left", "posterior", "superior"), 0.0),)
FEMUR: tuple[Loading, ...] = (
    SingleLegStance(), SingleLegStance(head="cup"),
    SingleLegStance(head="guided", distal="pivot", pivot_mm=60.0),
    SingleLegStance(distal="springs"),
    CONVENTIONS["leuven"], CONVENTIONS["lyon"], CONVENTIONS["nijmegen"],
    SidewaysFall(), SidewaysFall(distal="clamped"), SidewaysFall(cement_mm=6.0, distal="sliding"),
    MuscleLoad("walking", 75.0), MuscleLoad("stair_climbing", 75.0),
    ShaftTorsion(), FourPointBending(), NamedLoad(HELD, (("head_cap", (0.0, 0.0, -1000.0)),)),
)  # fmt: skip
VERTEBRA: tuple[Loading, ...] = (
    EndplateCompression(), EndplateCompression(strain=0.019, cement_mm=5.0),
    ForwardFlexion(), CombinedLoad(torsion_Nmm=2000.0),
)  # fmt: skip


@cache
def problems() -> tuple[Problem, ...]:
    """Set up every load case, on elements of 4 mm (femur) and 2.5 mm (vertebra)."""
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = []
    for phantom, loadings, edge_mm in (
        (femur_phantom(FemurParameters(side="left"), scanner=scanner, seed=1), FEMUR, 4.0),
        (vertebra_phantom(scanner=scanner, seed=2), VERTEBRA, 2.5),
    ):
        labels = phantom.labels.canonical()
        mask = labels.with_array(labels.mask("cortex", "trabecular").astype("u1"))
        bone = bonekit.from_labels(phantom.ct.canonical(), mask, phantom.bone, 1)
        ash = phantom.density.canonical()
        for loading in loadings:
            mesh = loaded_mesh(bone, loading, edge_mm)
            made.append(bonekit.set_up(mesh, ash, bone, loading=loading))
    return tuple(made)


def sheet(width_px: int = 560, across: int = 3) -> Picture.Image:
    """Draw all load cases on one sheet, in the order of `FEMUR` and `VERTEBRA`."""
    drawn = [Picture.open(BytesIO(load_drawing(p.model))).convert("RGB") for p in problems()]
    small = [d.resize((width_px, d.height * width_px // d.width)) for d in drawn]
    height_px = max(picture.height for picture in small)
    page = Picture.new("RGB", (across * width_px, -(-len(small) // across) * height_px), "white")
    for n, (problem, picture) in enumerate(zip(problems(), small, strict=True)):
        write = ImageDraw.Draw(picture).text
        write((width_px - 8, 6), f"{n + 1} {problem.load.name}", "black", anchor="ra")
        page.paste(picture, (n % across * width_px, n // across * height_px))
    return page.quantize(128)


if __name__ == "__main__":
    sheet().save(Path(sys.argv[1] if len(sys.argv) > 1 else "load_cases.png"), optimize=True)
