"""Images with a place in the world: types, reading, writing."""

from bonekit.image.check import check_hu
from bonekit.image.dicom_seg import write_dicom_seg
from bonekit.image.labels import read_labels, read_names
from bonekit.image.reading import read, scan_info
from bonekit.image.series import ScanInfo, Series, list_series
from bonekit.image.volume import Grid, Image, LabelMap, from_sitk
from bonekit.image.writing import write, write_dicom

__all__ = [
    "Grid",
    "Image",
    "LabelMap",
    "ScanInfo",
    "Series",
    "check_hu",
    "from_sitk",
    "list_series",
    "read",
    "read_labels",
    "read_names",
    "scan_info",
    "write",
    "write_dicom",
    "write_dicom_seg",
]
