"""Reading decks of Ansys (.cdb): node, element and component blocks, by their place in the file.

Blocks as CDWRITE writes them (Mechanical APDL Command Reference: NBLOCK, EBLOCK, CMBLOCK).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.deck_contents import Cells, Contents, distinct, line_at, place

Float = NDArray[np.float64]
Int = NDArray[np.int64]

BLOCK = re.compile(rb"^(NBLOCK|EBLOCK|CMBLOCK)\b([^\r\n]*)\r?\n[ \t]*(\([^)\r\n]*\))", re.M | re.I)
TYPE = re.compile(rb"^ET[ \t]*,[ \t]*(\d+)[ \t]*,[ \t]*(?:SOLID)?[ \t]*(\d+)", re.M | re.I)
END = re.compile(rb"^(?:N[ \t]*,|[ \t]*-1[ \t]*(?:,|\r?$))", re.M | re.I)
OTHERS = re.compile(rb"^(/INPUT|N|E|EN)[ \t]*,(?![ \t]*R5)", re.M | re.I)
TETRA4, TETRA10 = (285,), (187, 92)  # and degenerate bricks:
BRICK8, BRICK20 = (185, 45), (186, 95)
# of a brick with K = L and M = N = O = P (Element Reference, SOLID185 and SOLID186)
AS_TETRA4, AS_TETRA10 = [0, 1, 2, 4], [0, 1, 2, 4, 8, 9, 11, 16, 17, 18]


@dataclass(frozen=True, eq=False)
class ElementBlock:
    """Elements of one EBLOCK and where they stand.

    Parameters
    ----------
    lines : ndarray of int, (n,)
        Byte at which the line of an element begins; its first field is the material.
    width : int
        Of a field.
    fields : ndarray of int, (n, 11)
        Material, type, real constant, ..., number of nodes, unused, element number.
    nodes : ndarray of int, (n, 20)
        0 where there are fewer.
    end : int
        Byte behind the block.
    """

    lines: Int
    width: int
    fields: Int
    nodes: Int
    end: int


def read_cdb(path: Path) -> Contents:
    """Read nodes, elements and components; everything else is left alone.

    Raises
    ------
    InputError
        If the deck has no blocks, or defines nodes and elements outside of them.
    """
    text = path.read_bytes()
    _refuse(path, text)
    node_ids, nodes = _nodes(path, text)
    found = element_blocks(path, text)
    kinds = {int(n): int(library) for n, library in TYPE.findall(text)}
    solids = [cells for block in found for cells in _solids(block, kinds)]
    ids = np.concatenate([block.fields[:, 10] for block in found])
    node_sets, element_sets, lines = _components(path, text)
    return Contents(node_ids, nodes, tuple(solids), ids, node_sets, element_sets, lines)


def element_blocks(path: Path, text: bytes) -> list[ElementBlock]:
    """Read the element blocks of a deck."""
    found = [m for m in BLOCK.finditer(text) if m[1].upper() == b"EBLOCK"]
    if not found:
        raise InputError(f"{path.name} has no EBLOCK; write it with CDWRITE,DB (blocked)")
    return [_element_block(path, text, match) for match in found]


def _refuse(path: Path, text: bytes) -> None:
    other = OTHERS.search(text)
    if other:
        where = place(path, line_at(text, other.start()))
        raise InputError(
            f"{where}: nodes or elements come from {other[1].decode()} commands or another file; "
            "write the deck with CDWRITE,DB (blocked)"
        )


def lines_in_cdb(path: Path, what: str, number: int) -> list[int]:
    """Find the lines at which a deck defines a node or an element, from the first on.

    Parameters
    ----------
    path : Path
        That `read_cdb` reads.
    what : {"node", "element"}
    number : int
    """
    text = path.read_bytes()
    out: list[int] = []
    if what == "element":
        for block in element_blocks(path, text):
            own = block.lines[block.fields[:, 10] == number]
            out += [line_at(text, byte) for byte in own.tolist()]
        return out
    for start, ids, _ in _node_blocks(path, text):
        out += (line_at(text, start) + np.flatnonzero(ids == number)).tolist()
    return out


def _nodes(path: Path, text: bytes) -> tuple[Int, Float]:
    blocks = list(_node_blocks(path, text))
    if not blocks:
        raise InputError(f"{path.name} has no NBLOCK; write it with CDWRITE,DB (blocked)")
    _, ids, coordinates = zip(*blocks, strict=True)
    return np.concatenate(ids), np.concatenate(coordinates)


def _node_blocks(path: Path, text: bytes) -> Iterator[tuple[int, Int, Float]]:
    """Byte at which each block's rows begin, a line each; numbers and coordinates."""
    for match in BLOCK.finditer(text):
        if match[1].upper() == b"NBLOCK":
            n_int, width, real = _node_format(path, match[3])
            start = text.index(b"\n", match.end()) + 1
            rows = text[start : _end(path, text, start)].splitlines()
            table = _fixed(path, text, start, rows, [width] * n_int + [real] * 3)
            yield start, table[:, 0].astype(np.int64), table[:, n_int:]


def _node_format(path: Path, text: bytes) -> tuple[int, int, int]:
    match = re.match(rb"\((\d+)i(\d+),\d+e(\d+)\.", text.replace(b" ", b"").lower())
    if match is None:
        raise InputError(f"{path.name}: can't read the NBLOCK format {text.decode('latin-1')}")
    return int(match[1]), int(match[2]), int(match[3])


def _end(path: Path, text: bytes, start: int) -> int:
    match = END.search(text, start)
    if match is None:
        raise InputError(f"{path.name}: a block does not end in -1: the file is cut off")
    return match.start()


def _fixed(path: Path, text: bytes, start: int, rows: list[bytes], widths: list[int]) -> Float:
    """Read numbers in columns of fixed widths, 0 where a row has none.

    Raises
    ------
    InputError
        If a field is no number; `start` is where the rows begin in the text.
    """
    try:
        return _columns(rows, widths)
    except ValueError:
        bad = next(row for row in rows if not _is_numbers(row, widths))
        line = line_at(text, text.index(bad, start))
        raise InputError(
            f"{place(path, line)}: the columns of a block hold no numbers: "
            f"{bad.decode('latin-1').strip()[:60]!r}"
        ) from None


def _is_numbers(row: bytes, widths: list[int]) -> bool:
    try:
        _columns([row], widths)
    except ValueError:
        return False
    return True


def _columns(rows: list[bytes], widths: list[int]) -> Float:
    total = sum(widths)
    padded = np.array([row[:total].ljust(total) for row in rows], dtype=f"S{total}")
    letters = padded.view(np.uint8).reshape(len(rows), total if rows else 0)
    if not rows:
        return np.zeros((0, len(widths)))
    out = np.zeros((len(rows), len(widths)))
    for column, (end, width) in enumerate(zip(np.cumsum(widths), widths, strict=True)):
        field = np.ascontiguousarray(letters[:, end - width : end]).view(f"S{width}").ravel()
        given = np.char.strip(field) != b""
        out[given, column] = field[given].astype(np.float64)
    return out


def _element_block(path: Path, text: bytes, match: re.Match[bytes]) -> ElementBlock:
    form = re.match(rb"\((\d+)i(\d+)\)", match[3].replace(b" ", b"").lower())
    if form is None or b"SOLID" not in match[2].upper():
        raise InputError(
            f"{path.name}: can't read EBLOCK{match[2].decode('latin-1')}; allowed: SOLID"
        )
    width = int(form[2])
    start = text.index(b"\n", match.end()) + 1
    stop = _end(path, text, start)
    rows = text[start:stop].splitlines(keepends=True)
    heads, tails, place_at, at = [], [], start, 0
    lines = []
    while at < len(rows):
        count = rows[at][8 * width : 9 * width].strip()
        more = count.isdigit() and int(count) > 8  # nodes go on in the next line
        if not count.isdigit() or (more and at + 1 == len(rows)):
            raise InputError(
                f"{place(path, line_at(text, place_at))}: an element of EBLOCK is cut off"
            )
        heads.append(rows[at].rstrip(b"\r\n"))
        tails.append(rows[at + 1].rstrip(b"\r\n") if more else b"")
        lines.append(place_at)
        place_at += len(rows[at]) + (len(rows[at + 1]) if more else 0)
        at += 2 if more else 1
    first = _fixed(path, text, start, heads, [width] * 19).astype(np.int64)
    rest = np.zeros((len(heads), 12), dtype=np.int64)
    if any(tails):
        rest = _fixed(path, text, start, tails, [width] * 12).astype(np.int64)
    nodes = np.concatenate([first[:, 11:], rest], axis=1)
    return ElementBlock(np.array(lines), width, first[:, :11], nodes, text.find(b"\n", stop) + 1)


def _solids(block: ElementBlock, kinds: Mapping[int, int]) -> list[Cells]:
    """Sort tetrahedra and hexahedra out of a block, degenerate bricks as what they are.

    Quadratic elements may come without their mid-side nodes: then they are linear ones.
    """
    library = np.array([kinds.get(number, 0) for number in block.fields[:, 1].tolist()])
    nodes, ids = block.nodes, block.fields[:, 10]
    flat = (nodes[:, 2] == nodes[:, 3]) & (nodes[:, 4:8] == nodes[:, 4:5]).all(axis=1)
    corners = np.sort(nodes[:, :8], axis=1)
    whole = (np.diff(corners, axis=1) > 0).all(axis=1)
    tetra, brick = np.isin(library, TETRA10), np.isin(library, BRICK20)
    straight_tetra = np.isin(library, TETRA4) | (tetra & ~nodes[:, 4:].any(axis=1))
    straight_brick = np.isin(library, BRICK8) | (brick & ~nodes[:, 8:].any(axis=1))
    chosen = [
        (straight_tetra, [0, 1, 2, 3]),
        (straight_brick & flat, AS_TETRA4),
        (straight_brick & whole, list(range(8))),
        (tetra & ~straight_tetra, list(range(10))),
        (brick & ~straight_brick & flat, AS_TETRA10),
    ]
    return [Cells(ids[mask], nodes[mask][:, order]) for mask, order in chosen if mask.any()]


def _components(path: Path, text: bytes) -> tuple[dict[str, Int], dict[str, Int], dict[str, int]]:
    """Components of nodes and of elements, and their lines; a negative number ends a range."""
    found: dict[str, int] = {}
    out: dict[bytes, dict[str, Int]] = {b"NODE": {}, b"ELEM": {}}
    for match in BLOCK.finditer(text):
        if match[1].upper() != b"CMBLOCK":
            continue
        line = line_at(text, match.start())
        fields = [part.strip() for part in match[2].split(b"!")[0].split(b",")[:4]]
        if len(fields) < 4 or not fields[3].isdigit():
            raise InputError(f"{place(path, line)}: CMBLOCK needs a name, a kind and a count")
        _, name, kind, count = fields
        form = re.match(rb"\((\d+)i(\d+)\)", match[3].replace(b" ", b"").lower())
        if form is None or kind.upper()[:4] not in out:
            continue
        per_line, width = int(form[1]), int(form[2])
        start = text.index(b"\n", match.end()) + 1
        n_lines = -(-int(count) // per_line)
        rows = text[start : start + n_lines * (per_line * width + 2)].splitlines()[:n_lines]
        table = _fixed(path, text, start, rows, [width] * per_line).astype(np.int64)
        title = name.decode("latin-1").upper()
        out[kind.upper()[:4]][title] = _ranges(table.ravel()[: int(count)])
        found[f"{'node' if kind.upper()[:4] == b'NODE' else 'element'} set {title}"] = line
    return out[b"NODE"], out[b"ELEM"], found


def _ranges(numbers: Int) -> Int:
    last = np.flatnonzero(numbers < 0)
    spans = [np.arange(numbers[i - 1], -numbers[i] + 1) for i in last.tolist()]
    return distinct(np.concatenate([numbers[numbers > 0], *spans]))
