"""Reading decks of Abaqus and CalculiX (.inp): keywords by their place in the file, mesh, sets.

Keywords and their data lines as in the Abaqus Keywords Guide: names in any case, ``**`` comments,
a header that ends in a comma goes on in the next line. Of a deck with parts the mesh is that of
the one part with solid elements, if one instance leaves it in its place.
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
from bonekit.fem.deck_contents import Cells, Contents, distinct, line_at, place

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PART = rb"(?:[^,\r\n]|,(?![ \t]*\r?\n))*"  # of a header, up to a comma that ends the line
HEADER = re.compile(
    rb"^(?:\xef\xbb\xbf)?[ \t]*\*(?!\*)" + PART + rb"(?:,[ \t]*\r?\n(?![ \t]*\*)" + PART + rb")*",
    re.MULTILINE,
)
COMMENT = re.compile(rb"^[ \t]*\*\*[^\n]*\n?", re.MULTILINE)
SOLID = re.compile(r"C3D(4|8|10)[A-Z]*")
NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
LARGEST = 999_999_999  # of Abaqus, for nodes and elements
FLAT = (
    "write it without parts (Abaqus/CAE: Model, Edit attributes, 'Do not use parts and assemblies "
    "in input files')"
)
BLANKS = bytes.maketrans(b",\r\n\t", b"    ")
ELSEWHERE = {
    "INCLUDE": "the deck is in several files: paste the included ones in",
    "PARAMETER": "write the values in place of the parameters",
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
    ends = [*(match.start() for match in found), len(text)][1:]
    out = []
    for match, end in zip(found, ends, strict=True):
        header = match.group().decode("latin-1").lstrip("\xef\xbb\xbf \t*").strip()
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
        If the deck is made of several parts or files, or numbers can't be read.
    """
    text = path.read_bytes()
    _refuse_other_text(path, text)
    return contents_of(path, text, keywords(text))


def contents_of(path: Path, text: bytes, found: list[Keyword]) -> Contents:
    """Gather nodes, elements and sets from the keywords of a deck."""
    found = mesh_keywords(path, text, found)
    nodes: list[Float] = [np.zeros((0, 4))]
    solids: list[Cells] = []
    all_ids: list[Int] = [np.zeros(0, dtype=np.int64)]
    node_sets: dict[str, Int] = {}
    element_sets: dict[str, Int] = {}
    lines: dict[str, int] = {}
    for keyword in found:
        for kind in ("NSET", "ELSET"):
            what = "node" if kind == "NSET" else "element"
            name = f"{what} set {keyword.options.get(kind)}"
            lines.setdefault(name, line_at(text, keyword.start))
        if keyword.name == "NODE":
            nodes.append(_nodes(path, text, keyword))
            ids = _whole(path, text, keyword, nodes[-1][:, 0])
            _add(node_sets, keyword.options.get("NSET"), ids)
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
        ids, table[:, 1:], tuple(solids), np.concatenate(all_ids), node_sets, element_sets, lines
    )


def lines_in_inp(path: Path, what: str, number: int) -> list[int]:
    """Find the lines at which a deck defines a node or an element, from the first on.

    Parameters
    ----------
    path : Path
        That `read_inp` reads.
    what : {"node", "element"}
    number : int
    """
    text = path.read_bytes()
    out: list[int] = []
    for keyword in mesh_keywords(path, text, keywords(text)):
        if keyword.name == what.upper():
            lines, first = _rows_begin(text, keyword)
            numbers = _numbers(path, text, keyword, b"\n".join(first))
            out += [line for line, own in zip(lines, numbers, strict=True) if own == number]
    return out


def _rows_begin(text: bytes, keyword: Keyword) -> tuple[list[int], list[bytes]]:
    """Lines at which the rows of a keyword begin, and their first fields.

    The row of a solid ends with its last node, others at a line with no comma at its end.
    """
    known = SOLID.fullmatch(keyword.options.get("TYPE", ""))
    width = 1 + int(known[1]) if known else 0
    lines, first, n_fields = [], [], 0
    rows = text[keyword.data : keyword.end].split(b"\n")
    for line, row in enumerate(rows, line_at(text, keyword.data)):
        fields = [] if row.lstrip().startswith(b"**") else row.replace(b",", b" ").split()
        if not fields:
            continue
        if not n_fields:
            lines.append(line)
            first.append(fields[0])
        n_fields += len(fields)
        more = row.rstrip().endswith(b",") and keyword.name == "ELEMENT"
        if n_fields == width or not (width or more):
            n_fields = 0
    return lines, first


def mesh_keywords(path: Path, text: bytes, found: list[Keyword]) -> list[Keyword]:
    """Pick the keywords that describe the mesh: those of its part, or all if there are no parts.

    Raises
    ------
    InputError
        If there are solids in several parts, their part is moved or used twice, or a keyword stands
        for lines or files that are not there.
    """
    own = _of_part(path, text, found) if any(k.name == "PART" for k in found) else found
    for keyword in own:
        advice = ELSEWHERE.get(keyword.name)
        if keyword.name in ("NODE", "ELEMENT", "NSET", "ELSET") and "INPUT" in keyword.options:
            advice = "its numbers are in another file: paste them in"
        if keyword.name == "NODE" and keyword.options.get("SYSTEM", "R") != "R":
            advice = "give coordinates in the global system"
        if keyword.name in ("INSTANCE", "ASSEMBLY"):
            advice = FLAT
        if advice:
            raise refusal(path, text, keyword, advice)
    return own


def refusal(path: Path, text: bytes, keyword: Keyword, advice: str) -> InputError:
    """Make an error that names a keyword, its line and what to do."""
    where = place(path, line_at(text, keyword.start))
    return InputError(f"{where}: can't use *{keyword.name} of this deck; {advice}")


def _of_part(path: Path, text: bytes, found: list[Keyword]) -> list[Keyword]:
    """Keywords of the one part with solid elements, its end among them."""
    parts: list[list[Keyword]] = []
    inside = False
    for keyword in found:
        if keyword.name == "PART":
            parts.append([])
            inside = True
        if inside:
            parts[-1].append(keyword)
        elif _is_solid(keyword):
            raise refusal(path, text, keyword, f"solids stand outside of the parts: {FLAT}")
        if keyword.name == "END PART":
            inside = False
    solid = [part for part in parts if any(map(_is_solid, part))]
    if len(solid) > 1:
        raise refusal(path, text, solid[1][0], f"two parts have solid elements: {FLAT}")
    if not solid:
        return found[:0]
    (part,) = solid
    name = part[0].options.get("NAME", "")
    used = [k for k in found if k.name == "INSTANCE" and k.options.get("PART") == name]
    for instance in used[1:]:
        raise refusal(path, text, instance, f"the part {name} is used twice: {FLAT}")
    for instance in used:
        if _rows(text, instance).strip():
            raise refusal(path, text, instance, f"it moves the part {name}: {FLAT}")
    if part[-1].name != "END PART":
        raise refusal(path, text, part[0], "it does not end (*END PART): the file is cut off")
    return part[1:-1]


def _is_solid(keyword: Keyword) -> bool:
    kind = keyword.options.get("TYPE", "")
    return keyword.name == "ELEMENT" and SOLID.fullmatch(kind) is not None


def _refuse_other_text(path: Path, text: bytes) -> None:
    """Refuse text that has no lines as we know them."""
    if b"\0" in text:
        raise InputError(f"{path.name} is no plain text (UTF-16?): save it as ASCII or UTF-8")
    if b"\r" in text and b"\n" not in text:
        raise InputError(f"{path.name} has the line ends of an old Macintosh: save it with others")


def _rows(text: bytes, keyword: Keyword) -> bytes:
    data = text[keyword.data : keyword.end]
    return COMMENT.sub(b"", data) if b"**" in data else data


def _numbers(path: Path, text: bytes, keyword: Keyword, data: bytes) -> Float:
    """Read numbers, separated by commas, blanks or line ends."""
    if re.search(rb"[dD]", data):
        data = data.replace(b"D", b"E").replace(b"d", b"e")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(data.translate(BLANKS).decode("latin-1"), sep=" ")
        except (ValueError, DeprecationWarning):
            line = _odd_line(text, keyword)
            raise InputError(
                f"{place(path, line)}: *{keyword.name} has a line that is no numbers"
            ) from None


def _odd_line(text: bytes, keyword: Keyword) -> int:
    """Find the first line with a field that is no number."""
    line = line_at(text, keyword.data)
    for row in text[keyword.data : keyword.end].splitlines():
        fields = [] if row.lstrip().startswith(b"**") else row.replace(b",", b" ").split()
        if not all(NUMBER.fullmatch(field) for field in fields):
            return line
        line += 1
    return line_at(text, keyword.start)


def _ends_of_lines(data: bytes) -> Int:
    """Count the fields up to each line, a comma at its end being none."""
    letters = np.frombuffer(data.translate(None, b" \t\r") + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    commas = np.cumsum(letters == ord(","))[ends]
    before = letters[ends - 1]  # of the first line, if it is empty, the last letter: a line end
    whole = (before != ord(",")) & (before != ord("\n"))
    return np.asarray(commas + np.cumsum(whole), dtype=np.int64)


def _nodes(path: Path, text: bytes, keyword: Keyword) -> Float:
    """Rows of number and coordinates; coordinates that are left out are 0."""
    data = _rows(text, keyword)
    numbers = _numbers(path, text, keyword, data)
    lines = [line for line in data.splitlines() if line.strip(b" ,\t")]
    if len(numbers) == 4 * len(lines) and b",," not in data.replace(b" ", b""):
        return numbers.reshape(-1, 4)
    out = np.zeros((len(lines), 4))
    for row, line in zip(out, lines, strict=True):
        fields = [_numbers(path, text, keyword, field) for field in line.split(b",")[:4]]
        row[: len(fields)] = [field[0] if field.size else 0.0 for field in fields]
    return out


def _elements(path: Path, text: bytes, keyword: Keyword) -> tuple[Int, list[Cells]]:
    """Numbers of the elements, and their nodes if they are solids that can get a material."""
    kind = keyword.options.get("TYPE", "")
    data = _rows(text, keyword)
    known = SOLID.fullmatch(kind)
    if known is None:
        return _first_numbers(path, text, keyword, data), []
    width = 1 + int(known[1])
    numbers = _numbers(path, text, keyword, data)
    line = line_at(text, keyword.start)
    rows = np.arange(width, len(numbers) + 1, width)
    if len(numbers) % width or not np.isin(rows, _ends_of_lines(data)).all():
        raise InputError(
            f"{place(path, line)}: *ELEMENT, TYPE={kind} has {len(numbers)} numbers, which are not "
            f"rows of {width}, each on lines of its own"
        )
    table = _whole(path, text, keyword, numbers).reshape(-1, width)
    return table[:, 0], [Cells(table[:, 0], table[:, 1:], line)]


def _whole(path: Path, text: bytes, keyword: Keyword, numbers: Float) -> Int:
    """Numbers of nodes or elements: whole and positive."""
    odd = numbers[(numbers % 1 != 0) | (numbers < 1) | (numbers > LARGEST)]
    if odd.size:
        where = place(path, line_at(text, keyword.start))
        raise InputError(
            f"{where}: *{keyword.name} has {odd[0]:g} for a number of a node or an element; "
            "allowed are 1, 2, ..."
        )
    return numbers.astype(np.int64)


def _first_numbers(path: Path, text: bytes, keyword: Keyword, data: bytes) -> Int:
    """Element numbers of any kind: a row that ends in a comma goes on in the next line."""
    joined = re.sub(rb",[ \t]*\r?\n", b",", data)
    first = b"\n".join(line.split(b",")[0] for line in joined.splitlines())
    return _whole(path, text, keyword, _numbers(path, text, keyword, first))


def _members(path: Path, text: bytes, keyword: Keyword, sets: Mapping[str, Int]) -> Int:
    """Numbers of a set; it may name sets that were defined before."""
    data = _rows(text, keyword)
    if "GENERATE" in keyword.options:
        parts = []
        for line in data.splitlines():
            if line.strip(b" ,\t"):
                parts.append(_generated(path, text, keyword, line))
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    if not re.search(rb"[A-Za-z_]", data):
        return _whole(path, text, keyword, _numbers(path, text, keyword, data))
    parts = []
    for field in re.split(rb"[,\r\n]+", data):
        name = field.decode("latin-1").strip(' \t"').upper()
        if name and not name.isdigit() and name not in sets:
            where = place(path, line_at(text, keyword.start))
            raise InputError(f"{where}: a set names the set {name}, which is not defined before")
        if name:
            parts.append(np.array([int(name)]) if name.isdigit() else sets[name])
    return np.concatenate(parts)


def _generated(path: Path, text: bytes, keyword: Keyword, line: bytes) -> Int:
    """Numbers of a line of first, last and step."""
    given = _whole(path, text, keyword, _numbers(path, text, keyword, line)).tolist()
    if len(given) not in (2, 3) or given[1] < given[0]:
        where = place(path, line_at(text, keyword.start))
        raise InputError(
            f"{where}: a generated set has the line {line.decode('latin-1').strip()!r}; allowed: "
            "first, last, step, the first not above the last"
        )
    first, last, *step = given
    return np.arange(first, last + 1, step[0] if step else 1)


def _add(sets: dict[str, Int], name: str | None, members: Int) -> None:
    if name:
        sets[name] = distinct(np.concatenate([sets.get(name, members[:0]), members]))
