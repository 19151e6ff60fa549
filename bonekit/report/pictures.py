"""What figures are called in the report, and say to those who can't see them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from markupsafe import Markup

from bonekit.report.text import readable


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
    "landmarks": Picture(
        "Landmarks",
        "What was found of the bone's anatomy, drawn through it, with the axes that follow. The "
        "case file can give a point another place.",
        "Surface of the bone from the front and from the side with its landmarks named.",
    ),
    "load": Picture(
        "Load case",
        "Where the bone is loaded and where it is held. The arrow shows the direction of the "
        "load of the calculation; the strength follows from it in proportion.",
        "Surface of the bone with arrows at the loaded area and the held area in blue.",
    ),
    "peak": Picture(
        "Force over displacement",
        "The nonlinear path; the dashed line is the elastic stiffness.",
        "Curve of force over displacement with its largest force marked.",
    ),
    "sweep": Picture(
        "Strength by direction of the force",
        "Seen along the force of the load case, which is in the middle; the ring marks the weakest "
        "direction. A stance loads the same patch of the head in all of them; a fall other ones.",
        "Map of strength over the two angles of the force with its lowest point marked.",
    ),
    "modulus": Picture(
        "Stiffness of the bone",
        "Young's modulus of the elements, from the density in the CT; logarithmic scale.",
        "Cuts through the mesh coloured by Young's modulus.",
    ),
    "calibration": Picture(
        "Calibration",
        "Where in the scan the line from HU to density was measured, and how well it fits.",
        "A slice of the CT with the samples marked, beside the fitted line with its error.",
    ),
    "cortex": Picture(
        "Thickness of the cortex",
        "Fitted along the normals of the surface by a model of the scanner's blur; grey where the "
        "fit was refused.",
        "Surface of the bone coloured by cortical thickness, with its histogram.",
    ),
    "intact": Picture(
        "The bone without its lesions",
        "Ash density as scanned and with the lesions filled by bone like that around them at the "
        "same depth, in two planes through the lesions.",
        "Coronal and axial planes of the density before and after the lesions are filled.",
    ),
    "strain": Picture(
        "Where it would fail",
        "Strain as a share of its limit at the strength load. Red elements are over the limit.",
        "Cuts through the mesh and its surface coloured by strain over its limit.",
    ),
}


def in_order(figures: Mapping[str, bytes]) -> Iterable[tuple[Picture, Markup]]:
    """Pictures with their bytes as base64, the known ones first."""
    known = [name for name in PICTURES if name in figures]
    for name in known + [name for name in figures if name not in PICTURES]:
        words = readable(name).capitalize()
        picture = PICTURES.get(name, Picture(words, "", words))
        yield picture, Markup(base64.b64encode(figures[name]).decode("ascii"))
