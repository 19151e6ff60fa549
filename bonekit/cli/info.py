"""Commands about bonekit itself: info, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import bonekit
from bonekit.cli.app import app


@app.command
def info(scan: Path | None = None, /, *, json: bool = False) -> None:
    """Tell what bonekit finds on this machine, or which series a scan holds.

    Parameters
    ----------
    scan
        DICOM folder or zip: list its series.
    json
        Answer in JSON.
    """
    import json as format_json
    from math import isfinite

    from bonekit.environment import environment

    if scan is not None:
        from bonekit.image import list_series

        rows = [
            {
                "uid": s.uid,
                "modality": s.modality,
                "slices": s.n_slices,
                "spacing_mm": [h if isfinite(h) else None for h in s.spacing_mm],  # None: unsaid
            }
            for s in list_series(scan)
        ]
        for row in rows:
            print(format_json.dumps(row))
        return
    found = environment()
    if json:
        print(format_json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:>12}: {value}")
    print(bonekit.DISCLAIMER)


@app.command
def schema(name: Literal["case", "result", "task", "plan"] = "case", /) -> None:
    """Print the JSON Schema of the case file or of result.json.

    Parameters
    ----------
    name
        case or result.
    """
    import json

    from bonekit.schemas import schema_of

    print(json.dumps(schema_of(name), indent=1))
