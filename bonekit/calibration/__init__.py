"""Calibration from a phantom in the scan: find its rods, fit the line from HU to density."""

from bonekit.calibration.line import LineFit, calibrate
from bonekit.calibration.measure import Rod
from bonekit.calibration.rods import find_rods
from bonekit.calibration.scan import calibrate_on_rods
from bonekit.calibration.tables import TABLES, RodTable, table_named, user_table

__all__ = [
    "TABLES",
    "LineFit",
    "Rod",
    "RodTable",
    "calibrate",
    "calibrate_on_rods",
    "find_rods",
    "table_named",
    "user_table",
]
