"""Reading decks of Abaqus and CalculiX (.inp): keywords by their place in the file, mesh, sets.

Keywords and their data lines as in the Abaqus Keywords Guide: names in any case, ``**`` comments,
a header that ends in a comma goes on in the next line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.deck_contents import Cells, Contents, distinct

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PART = rb"(?:[^,\r\n]|,(?![ \t]*\r?\n))*"  # of a header, up to a comma that ends the line
HEADER = re.compile(
    rb"^[ \t]*\*(?!\*)" + PART + rb"(?:,[ \t]*\r?\n(?![ \t]*\*)" + PART + rb")*", re.MULTILINE
)
COMMENT = re.compile(rb"^[ \t]*\*\*[^\n]*\n?", re.MULTILINE)
SOLID = re.compile(r"C3D(4|8|10)[A-Z]*")
BLANKS = bytes.maketrans(b",\r\n\t", b"    ")
ELSEWHERE = {
    "INCLUDE": "the deck is in several files: paste the included ones in",
    "PARAMETER": "write the values in place of the parameters",
    **dict.fromkeys(
        ("PART", "INSTANCE", "ASSEMBLY"),
        "write it without parts (Abaqus/CAE: Model, Edit attributes, 'Do not use parts and "
        "assemblies in input files')",
    ),
    **dict.fromkeys(("NGEN", "NFILL", "NCOPY", "NMAP", "ELGEN", "ELCOPY"), "list them one by one"),
    "SYSTEM": "give coordinates in the global system",
}


@dataclass(frozen=True)
class Keyword:
    """A keyword and its place: header in ``[start, data)``, data lines in ``[data, end)``."""

    name: str
    options: Mapping[str, str]
    start: int
    data: int
    end: int


def keywords(text: bytes) -> list[Keyword]:
    """Find all keywords of a deck, in order; names and options in capitals."""
    found = list(HEADER.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    out = []
    for match, end in zip(found, ends, strict=True):
        header = match.group().decode("latin-1").strip().lstrip("*")
        name, *fields = (part.strip() for part in header.split(","))
        pairs = [field.partition("=") for field in fields if field]
        options = {key.strip().upper(): value.strip(' "').upper() for key, _, value in pairs}
        newline = text.find(b"\n", match.end())
        data = end if newline < 0 else min(newline + 1, end)
        out.append(Keyword(" ".join(name.upper().split()), options, match.start(), data, end))
    return out


def read_inp(path: Path) -> Contents:
    """Read nodes, elements and sets; everything else is left alone.

    Raises
    ------
    InputError
        If the deck is made of parts or of several files, or numbers can't be read.
    """
    text = path.read_bytes()
    return contents_of(path, text, keywords(text))


def contents_of(path: Path, text: bytes, found: list[Keyword]) -> Contents:
    """Gather nodes, elements and sets from the keywords of a deck."""
    _refuse(path, found)
    nodes: list[Float] = [np.zeros((0, 4))]
    solids: list[Cells] = []
    all_ids: list[Int] = [np.zeros(0, dtype=np.int64)]
    node_sets: dict[str, Int] = {}
    element_sets: dict[str, Int] = {}
    for keyword in found:
        if keyword.name == "NODE":
            nodes.append(_nodes(path, text, keyword))
            _add(node_sets, keyword.options.get("NSET"), nodes[-1][:, 0].astype(np.int64))
        elif keyword.name == "ELEMENT":
            ids, cells = _elements(path, text, keyword)
            all_ids.append(ids)
            solids += cells
            _add(element_sets, keyword.options.get("ELSET"), ids)
        elif keyword.name in ("NSET", "ELSET"):
            sets = node_sets if keyword.name == "NSET" else element_sets
            _add(sets, keyword.options.get(keyword.name), _members(path, text, keyword, sets))
    table = np.concatenate(nodes)
    ids = table[:, 0].astype(np.int64)
    return Contents(
        ids, table[:, 1:], tuple(solids), np.concatenate(all_ids), node_sets, element_sets
    )


def _refuse(path: Path, found: list[Keyword]) -> None:
    for keyword in found:
        advice = ELSEWHERE.get(keyword.name)
        if keyword.name in ("NODE", "ELEMENT", "NSET", "ELSET") and "INPUT" in keyword.options:
            advice = "its numbers are in another file: paste them in"
        if keyword.name == "NODE" and keyword.options.get("SYSTEM", "R") != "R":
            advice = "give coordinates in the global system"
        if advice:
            raise InputError(f"{path.name}: can't use *{keyword.name} of this deck; {advice}")


def _rows(text: bytes, keyword: Keyword) -> bytes:
    data = text[keyword.data : keyword.end]
    return COMMENT.sub(b"", data) if b"**" in data else data


def _numbers(path: Path, keyword: Keyword, data: bytes) -> Float:
    if re.search(rb"[dD]", data):
        data = data.replace(b"D", b"E").replace(b"d", b"e")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(data.translate(BLANKS).decode("latin-1"), sep=" ")
        except (ValueError, DeprecationWarning):
            raise InputError(
                f"{path.name}: *{keyword.name} has lines that are no numbers"
            ) from None


def _nodes(path: Path, text: bytes, keyword: Keyword) -> Float:
    """Rows of number and coordinates; coordinates that are left out are 0."""
    data = _rows(text, keyword)
    numbers = _numbers(path, keyword, data)
    lines = [line for line in data.splitlines() if line.strip(b" ,\t")]
    if len(numbers) == 4 * len(lines) and b",," not in data.replace(b" ", b""):
        return numbers.reshape(-1, 4)
    out = np.zeros((len(lines), 4))
    for row, line in zip(out, lines, strict=True):
        fields = [_numbers(path, keyword, field) for field in line.split(b",")[:4]]
        row[: len(fields)] = [field[0] if field.size else 0.0 for field in fields]
    return out


def _elements(path: Path, text: bytes, keyword: Keyword) -> tuple[Int, list[Cells]]:
    """Numbers of the elements, and their nodes if they are solids that can get a material."""
    kind = keyword.options.get("TYPE", "")
    data = _rows(text, keyword)
    known = SOLID.fullmatch(kind)
    if known is None:
        return _first_numbers(path, keyword, data), []
    width = 1 + int(known[1])
    numbers = _numbers(path, keyword, data)
    if len(numbers) % width:
        raise InputError(
            f"{path.name}: *ELEMENT, TYPE={kind} has {len(numbers)} numbers, which are not rows of "
            f"{width}"
        )
    table = numbers.astype(np.int64).reshape(-1, width)
    return table[:, 0], [Cells(table[:, 0], table[:, 1:])]


def _first_numbers(path: Path, keyword: Keyword, data: bytes) -> Int:
    """Element numbers of any kind: a row that ends in a comma goes on in the next line."""
    joined = re.sub(rb",[ \t]*\r?\n", b",", data)
    first = b"\n".join(line.split(b",")[0] for line in joined.splitlines())
    return _numbers(path, keyword, first).astype(np.int64)


def _members(path: Path, text: bytes, keyword: Keyword, sets: Mapping[str, Int]) -> Int:
    """Numbers of a set; it may name sets that were defined before."""
    data = _rows(text, keyword)
    if "GENERATE" in keyword.options:
        parts = []
        for line in data.splitlines():
            if line.strip(b" ,\t"):
                first, last, *step = _numbers(path, keyword, line).astype(np.int64).tolist()
                parts.append(np.arange(first, last + 1, step[0] if step else 1))
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    if not re.search(rb"[A-Za-z_]", data):
        return _numbers(path, keyword, data).astype(np.int64)
    parts = []
    for field in re.split(rb"[,\r\n]+", data):
        name = field.decode("latin-1").strip(' \t"').upper()
        if name and not name.isdigit() and name not in sets:
            raise InputError(
                f"{path.name}: a set names the set {name}, which is not defined before"
            )
        if name:
            parts.append(np.array([int(name)]) if name.isdigit() else sets[name])
    return np.concatenate(parts)


def _add(sets: dict[str, Int], name: str | None, members: Int) -> None:
    if name:
        sets[name] = distinct(np.concatenate([sets.get(name, members[:0]), members]))
