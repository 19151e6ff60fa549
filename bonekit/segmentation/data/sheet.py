"""The case sheet: what is known of each scan, one row for each subject."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.data.subjects import Subject

KEYS = ("subject", "participant_id")  # the second is the name in BIDS
Sheet = Mapping[str, Mapping[str, str]]


def read_sheet(path: str | Path) -> dict[str, dict[str, str]]:
    """Read a case sheet.

    Parameters
    ----------
    path : str or Path
        ``.csv`` or ``.tsv`` with a head line and the column ``subject`` (or ``participant_id``).

    Returns
    -------
    dict of str to dict
        Columns of each subject, the subject's name left out.

    Raises
    ------
    InputError
        If the column is absent, a row has too many or too few fields, or a subject occurs twice.
    """
    source = Path(path)
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if source.suffix == ".tsv" else ",")
            rows, names = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the case sheet {source} can't be read: {error}") from error
    key = next((k for k in KEYS if k in names), None)
    if key is None:
        raise InputError(
            f"the case sheet {source} has no column 'subject'; found: {', '.join(names) or 'none'}"
        )
    sheet: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{source}, line {line}: its fields don't fit to the head line")
        name = row.pop(key).removeprefix("sub-" if key == "participant_id" else "")
        if name in sheet:
            raise InputError(f"{source}: subject {name} occurs twice; one row for each subject")
        sheet[name] = row
    return sheet


def with_columns(subjects: Sequence[Subject], sheet: Sheet, origin: str) -> tuple[Subject, ...]:
    """Give each subject its row; `InputError` names those that have none."""
    if lost := [s.name for s in subjects if s.name not in sheet]:
        raise InputError(
            f"{origin} has no row for {', '.join(lost[:10])}{' ...' if len(lost) > 10 else ''}; "
            "add them, fields may be empty"
        )
    return tuple(replace(s, columns=dict(sheet[s.name])) for s in subjects)


def write_sheet(subjects: Sequence[Subject], path: str | Path, key: str = "subject") -> None:
    """Write the columns of all subjects; ``.tsv`` is separated by tabs, any other by commas."""
    names = list(dict.fromkeys(name for s in subjects for name in s.columns))
    target = Path(path)
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(
            out, delimiter="\t" if target.suffix == ".tsv" else ",", lineterminator="\n"
        )
        writer.writerow([key, *names])
        for s in subjects:
            name = f"sub-{s.name}" if key == "participant_id" else s.name
            writer.writerow([name, *(s.columns.get(n, "") for n in names)])
