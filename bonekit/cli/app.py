"""The application that the commands belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import bonekit

app = App(
    name="bonekit",
    version=bonekit.__version__,
    help="Bone strength from a CT scan: segmentation, mesh, finite elements.\n\n"
    f"{bonekit.DISCLAIMER}",
    help_epilogue="Start with: bonekit run SCAN -o OUT --bone femur_left",
    suppress_keyboard_interrupt=False,  # `_code` says how to resume
)

Output = Annotated[Path, Parameter(name=["--out", "-o"])]
Config = Annotated[Path | None, Parameter(name=["--config", "-c"])]
