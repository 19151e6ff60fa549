"""Masks made elsewhere, by name: TotalSegmentator, nnU-Net, 3D Slicer, DICOM SEG."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image import slicer
from bonekit.image.files import SUFFIXES, Raw, existing, load, scalar, suffix_of
from bonekit.image.volume import Colour, LabelMap
from bonekit.image.writing import sidecar

logger = logging.getLogger(__name__)

Names = Mapping[int, str] | str | Path


def read_labels(
    path: str | Path,
    names: Names | None = None,
    on_overlap: Literal["error", "last"] = "error",
) -> LabelMap:
    """Read a label map with the names of its labels.

    Parameters
    ----------
    path : str or Path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, a segmentation ``.seg.nrrd`` of 3D Slicer, or
        a DICOM SEG file ``.dcm`` (extra ``dicom-seg``).
    names : mapping of int to str, or path of a JSON file, optional
        Without it, names come from the file itself (Slicer's fields, the table that
        TotalSegmentator writes into the NIfTI header), else from ``<stem>.json`` or
        ``dataset.json`` (nnU-Net) beside it. Both ``{"1": "femur"}`` and
        ``{"labels": {"femur": 1}}`` are understood.
    on_overlap : {"error", "last"}
        What to do where segments of Slicer overlap: refuse, or let the later one win.

    Returns
    -------
    LabelMap
        On the grid of the file. Bring it to a CT with ``labels.resample(ct.grid)``.

    Raises
    ------
    InputError
        If values are not whole numbers from 0 up, a name occurs twice, a table can't be read.
    """
    source = existing(path)
    suffix = suffix_of(source)
    if suffix == "" and source.is_file() and source.suffix.lower() in (".dcm", ""):
        from bonekit.image.dicom_seg import read_dicom_seg

        labels = read_dicom_seg(source)
    elif suffix in (*SUFFIXES, ".seg.nrrd"):
        raw = load(source)
        if slicer.is_segmentation(raw):
            labels = slicer.labels_of(raw, source, on_overlap)
        else:
            labels = _plain(scalar(raw, source), source, search=names is None)
    else:
        raise InputError(
            f"{source} is no label map; allowed: {', '.join(SUFFIXES)}, .seg.nrrd, .dcm"
        )
    if names is not None:
        given = read_names(names) if isinstance(names, str | Path) else dict(names)
        labels = LabelMap(labels.array, labels.grid, given, labels.colours)
    _check_names(labels, source)
    return labels


def read_names(path: str | Path) -> dict[int, str]:
    """Read a label table: ``{"1": "femur"}``, or an nnU-Net ``dataset.json``.

    Raises
    ------
    InputError
        If it is neither.
    """
    source = existing(path)
    try:
        table = json.loads(source.read_text(encoding="utf-8"))
        order = table.get("regions_class_order")
        table = table.get("labels", table)
        pairs = list(table.items())
        if order is not None:  # nnU-Net trained on regions: the order says which value is which
            regions = [name for name, parts in pairs if parts not in (0, "0")]
            return {int(v): name for v, name in zip(order, regions, strict=True)}
        if all(str(key).isdigit() for key, _ in pairs):
            return {int(key): str(name) for key, name in pairs if int(key)}
        return {int(value): str(name) for name, value in pairs if int(value)}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f'{source} is no label table: {error}. Allowed: {{"1": "femur"}} or an nnU-Net '
            'dataset.json with {"labels": {"femur": 1}}'
        ) from error


def _plain(raw: Raw, source: Path, search: bool) -> LabelMap:
    """Make a label map of an ordinary image file and, if asked, look for its names."""
    array = _whole_numbers(raw.array, source)
    names, colours = _header_table(raw.extensions)
    if search and not names:
        beside = (sidecar(source), source.with_name("dataset.json"))
        table = next((file for file in beside if file.is_file()), None)
        if table is None:
            logger.warning("no names found for the labels: pass `names`")
        else:
            names = read_names(table)
    return LabelMap(array, raw.grid, names, colours)


def _whole_numbers(array: NDArray[Any], source: Path) -> NDArray[Any]:
    if not np.isfinite(array).all() or array.min() < 0 or (array != np.floor(array)).any():
        raise InputError(
            f"{source} is no label map: its values must be whole numbers from 0 up, found "
            f"{array.min()} to {array.max()}. Is it an image, or a mask resampled with a linear "
            "interpolation?"
        )
    return array.astype(np.min_scalar_type(int(array.max())), copy=False)


def _header_table(extensions: tuple[bytes, ...]) -> tuple[dict[int, str], dict[int, Colour]]:
    """Names and colours of the XML label table in a NIfTI header (TotalSegmentator, Caret)."""
    names: dict[int, str] = {}
    colours: dict[int, Colour] = {}
    for extension in extensions:
        text = extension.rstrip(b"\0 \r\n\t")
        if b"<LabelTable" not in text:
            continue
        try:
            for label in ElementTree.fromstring(text).iter("Label"):
                value = int(label.attrib["Key"])
                names[value] = (label.text or "").strip()
                red, green, blue = (float(label.get(c, 0)) for c in ("Red", "Green", "Blue"))
                colours[value] = (round(255 * red), round(255 * green), round(255 * blue))
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise InputError(f"the label table in the header is damaged: {error}") from error
    names.pop(0, None)
    colours.pop(0, None)
    return names, colours


def _check_names(labels: LabelMap, source: Path) -> None:
    listed = list(labels.names.values())
    doubled = sorted({name for name in listed if listed.count(name) > 1})
    if doubled:
        raise InputError(f"{source}: several labels are named {', '.join(doubled)}; rename them")
    nameless = sorted({int(v) for v in np.unique(labels.array)} - {0} - set(labels.names))
    if labels.names and nameless:
        logger.warning("labels without a name: %s", nameless)
