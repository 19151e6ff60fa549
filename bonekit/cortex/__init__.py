"""The cortex that blur has thinned: measured below the scanner's resolution, and put right.

A clinical scanner blurs by one to two millimetres, so a cortex of one millimetre shows a third of
its density and part of its mineral lies outside the bone's mask. `peel_and_dilate` is the simple
remedy; `cortical_map` measures thickness by a model of the blur, and `corrected_density` puts the
mineral back with it, conserving what there is.
"""

from bonekit.cortex.correction import Correction, correct, corrected_density
from bonekit.cortex.peel import peel_and_dilate
from bonekit.cortex.thickness import CorticalMap, cortical_map

__all__ = [
    "Correction",
    "CorticalMap",
    "correct",
    "corrected_density",
    "cortical_map",
    "peel_and_dilate",
]
