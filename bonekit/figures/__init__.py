"""Pictures of a run, as PNG bytes: what was segmented, loaded, and how the bone answers.

Every function is pure: arrays in, bytes out, no global state of matplotlib, no display, no VTK.
Pictures follow the radiological convention: seen from the front and from below, so the patient's
right is on the left side.
"""

from bonekit.figures.load import load_drawing
from bonekit.figures.maps import modulus_map, strain_map
from bonekit.figures.overlay import levels, overlay
from bonekit.figures.preview import preview

__all__ = ["levels", "load_drawing", "modulus_map", "overlay", "preview", "strain_map"]
