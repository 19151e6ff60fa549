"""Phantoms on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from bonekit.image import write, write_dicom
from bonekit.image.writing import replacing
from bonekit.phantom.build import Phantom


def write_phantom(phantom: Phantom, folder: str | Path, *, dicom: bool = False) -> Path:
    """Write a phantom into a folder, which is made if need be.

    Writes ``ct.nii.gz`` (or the DICOM series ``dicom/``), ``labels.nii.gz`` with its table
    ``labels.json``, ``density.nii.gz`` (ash, g/cm3) and ``truth.json`` (landmarks, volumes, the HU
    line, all parameters), and ``case.yaml``, by which `bonekit run` knows the phantom's bone and
    its exact line from HU to ash density. Every file appears whole or not at all.

    Parameters
    ----------
    phantom : Phantom
    folder : str or Path
    dicom : bool
        Write the CT as a DICOM series instead of NIfTI.

    Returns
    -------
    Path
        The CT: a file, or the folder of the series.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    write(phantom.labels, target / "labels.nii.gz")
    write(phantom.density, target / "density.nii.gz")
    line = {"hu_per_g_cm3": phantom.hu_per_g_cm3, "hu_at_zero": phantom.hu_at_zero}
    with replacing(target / "truth.json") as temporary:
        text = json.dumps({**phantom.truth, **line}, indent=1)
        temporary.write_text(text, encoding="utf-8")
    with replacing(target / "case.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(case_of(phantom), sort_keys=False), encoding="utf-8")
    ct = target / ("dicom" if dicom else "ct.nii.gz")
    if dicom:
        scanner = phantom.truth["parameters"]["scanner"]
        write_dicom(phantom.ct, ct, kVp=scanner["kVp"], kernel=scanner["kernel"])
    else:
        write(phantom.ct, ct)
    return ct


def case_of(phantom: Phantom) -> dict[str, Any]:
    """Return the case file of a phantom: bone, calibration, and that it is synthetic.

    The calibration is by the rods under the patient, where there are some; else it is the exact
    line of the scanner.
    """
    calibration: dict[str, Any]
    rods = phantom.truth["parameters"]["body"]["rods_g_cm3"]
    if rods:
        calibration = {"method": "rods", "densities_g_cm3": list(rods), "kind": "k2hpo4"}
    else:
        calibration = {
            "slope": 1.0 / phantom.hu_per_g_cm3,
            "intercept": -phantom.hu_at_zero / phantom.hu_per_g_cm3,
            "kind": "ash",
            "source": "exact line of the synthetic scanner",
        }
    return {"bone": phantom.bone, "synthetic": True, "calibration": calibration}
