"""Calibration from a phantom in the scan: find its rods, fit the line from HU to density."""

from bonekit.calibration.line import LineFit, calibrate
from bonekit.calibration.rods import Rod, find_rods
from bonekit.calibration.tables import TABLES, RodTable, table_named, user_table

__all__ = [
    "TABLES",
    "LineFit",
    "Rod",
    "RodTable",
    "calibrate",
    "find_rods",
    "table_named",
    "user_table",
]
