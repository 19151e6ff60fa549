"""Images with a place in the world: types, reading, writing."""

from bonekit.image.volume import Grid, Image, LabelMap, from_sitk

__all__ = ["Grid", "Image", "LabelMap", "from_sitk"]
