"""Give the elements of another program's deck our materials and leave the rest as it is.

This is what BoneMat does (Taddei et al., Med Eng Phys 2007;29:973-979): a mesh with loads and
contacts made elsewhere comes back with the bone's moduli.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.fem.cdb_reading import element_blocks
from bonekit.fem.deck import Material
from bonekit.fem.deck_ansys import material_lines as ansys_lines
from bonekit.fem.deck_calculix import PER_LINE
from bonekit.fem.deck_calculix import material_lines as inp_lines
from bonekit.fem.deck_contents import absent, distinct, line_at, place
from bonekit.fem.deck_reading import read_deck
from bonekit.fem.deck_text import digits, wrapped
from bonekit.fem.decks import Bins, Hardening, Representative, bin_moduli, materials_of
from bonekit.fem.inp_reading import (
    COMMENT,
    Keyword,
    contents_of,
    keywords,
    mesh_keywords,
    refusal,
)
from bonekit.image.writing import replacing

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PREFIX = "BONEKIT_"
BEGIN, END = "bonekit materials: begin", "bonekit materials: end"
OURS = re.compile(
    rb"^(?:\*\*|!) bonekit materials: begin.*?bonekit materials: end\r?\n", re.M | re.S
)
FOLLOWING = ("HOURGLASS STIFFNESS", "TRANSVERSE SHEAR")  # belong to the section before
# number of the material in the commands that define one
NUMBERED = re.compile(
    rb"^(?:MPDATA[^,]*,[^,]*,[^,]*,[^,]*,|MP[^,\n]*,[^,]*,|TB[ \t]*,[^,]*,)[ \t]*(\d+)", re.M | re.I
)


def with_materials(
    path: Path | str,
    out: Path | str,
    element_ids: Int,
    E_MPa: Float,
    nu: float,
    bins_MPa: float = 50.0,
    representative: Representative = "mean",
    hardening: Hardening | None = None,
) -> Bins:
    """Write another program's deck again, with our materials on some of its elements.

    Every other byte stays. Of an .inp the solid sections of these elements are replaced, and sets
    BONEKIT_1, BONEKIT_2, ... with their materials and sections are put in before the first step.
    Of a .cdb the material number of these elements is replaced, by numbers that follow those in
    use, and the materials are put in behind the elements. A second time, what the first put in
    is replaced. The deck has to be in mm, N and MPa.

    Parameters
    ----------
    path, out : path
        Both .inp or both .cdb.
    element_ids : ndarray of int, (n,)
        Numbers in the deck, as `ForeignMesh.element_ids` has them.
    E_MPa : ndarray of float, (n,)
    nu : float
    bins_MPa : float
        Largest difference of moduli within a material.
    representative : {"mean", "max"}
        What of its elements a material takes, see `bin_moduli`.
    hardening : callable, optional
        From Young's modulus in MPa to a hardening table, see `Material`.

    Returns
    -------
    Bins
        Which material each element got, and the error that this makes.

    Raises
    ------
    InputError
        If `read_deck` refuses the deck, an element is not in it, or a section or a name stands
        in the way.
    """
    path, out = Path(path), Path(out)
    if path.suffix.lower() not in (".inp", ".cdb") or out.suffix.lower() != path.suffix.lower():
        raise InputError(
            f"can't give {path.name} materials and write {out.name}; allowed: .inp to .inp, .cdb "
            "to .cdb. For others make a deck of the mesh, see bonekit.fem.decks.deck_of"
        )
    _check_elements(path, element_ids, E_MPa)
    bins = bin_moduli(E_MPa, bins_MPa, representative)
    materials = materials_of(bins, nu, hardening)
    rewrite = _inp if path.suffix.lower() == ".inp" else _cdb
    text = rewrite(path, OURS.sub(b"", path.read_bytes()), element_ids, bins, materials)
    with replacing(out) as temporary:
        temporary.write_bytes(text)
    return bins


def _check_elements(path: Path, element_ids: Int, E_MPa: Float) -> None:
    if element_ids.ndim != 1 or E_MPa.shape != element_ids.shape or not element_ids.size:
        raise InputError(f"{E_MPa.shape} moduli for element numbers of shape {element_ids.shape}")
    if len(distinct(element_ids)) != len(element_ids):
        raise InputError("an element number is given twice")
    known = np.sort(np.concatenate(list(read_deck(path).element_ids.values())))
    missing = absent(element_ids, known)
    if missing.size:
        raise InputError(
            f"{path.name} has no solid element {missing[0]} that can get a material "
            f"({missing.size} of {element_ids.size} are missing)"
        )


def _inp(path: Path, text: bytes, ids: Int, bins: Bins, materials: tuple[Material, ...]) -> bytes:
    found = keywords(text)
    own = mesh_keywords(path, text, found)
    sets = contents_of(path, text, found).element_sets
    names = [*sets, *(k.options.get("NAME", "") for k in found if k.name == "MATERIAL")]
    if taken := [name for name in names if name.startswith(PREFIX)]:
        raise InputError(f"{path.name} has names of its own that begin like ours: {taken}")
    newline = b"\r\n" if b"\r\n" in text else b"\n"
    step = next((k.start for k in found if k.name == "STEP"), len(text))
    put = {step: _inp_block(ids, bins, materials)}
    if len(own) < len(found):  # sets and sections belong to the part, materials to the model
        put = {own[-1].end: _inp_block(ids, bins, materials, definitions=False)}
        put[step] = _inp_block(ids, bins, materials, sections=False)
    cuts = [
        (k.start, k.end, COMMENT.findall(text, k.data, k.end))
        for k in _replaced(path, text, own, sets, ids)
    ]
    cuts += [(at, at, block) for at, block in put.items()]
    out, at = b"", 0
    for start, end, instead in sorted(cuts, key=lambda cut: cut[:2]):
        out += text[at:start]
        if out and not out.endswith(b"\n"):
            out += newline
        out += re.sub(rb"(?<!\r)\n", newline, b"".join(instead))
        at = end
    return out + text[at:]


def _replaced(
    path: Path, text: bytes, found: list[Keyword], sets: Mapping[str, Int], ids: Int
) -> list[Keyword]:
    """Find the solid sections of the elements, with what belongs to them."""
    out: list[Keyword] = []
    for before, keyword in zip([None, *found], found, strict=False):
        if keyword.name in FOLLOWING and out and before is out[-1]:
            out.append(keyword)
        if keyword.name != "SOLID SECTION":
            continue
        name = keyword.options.get("ELSET", "")
        if name not in sets:
            raise refusal(path, text, keyword, f"it names the set {name}, which is missing")
        covered = np.isin(sets[name], ids)
        if covered.any() and not covered.all():
            where = place(path, line_at(text, keyword.start))
            raise InputError(
                f"{where}: only {np.count_nonzero(covered)} of the {covered.size} elements of the "
                f"solid section of {name} get a material; split the set, or map all of it"
            )
        if covered.any():
            out.append(keyword)
    return out


def _inp_block(
    ids: Int,
    bins: Bins,
    materials: tuple[Material, ...],
    *,
    sections: bool = True,
    definitions: bool = True,
) -> list[bytes]:
    """Write sets with their sections, definitions of materials, or both."""
    said = f"{len(materials)} materials, error {bins.largest_error:.3%} at most"
    out = [f"** {BEGIN} (bonekit {__version__}; MPa; {said})\n".encode()]
    for number, material in enumerate(materials):
        name = f"{PREFIX}{number + 1}"
        lines: list[str] = []
        if sections:
            members = np.sort(ids[bins.material == number])
            out += [f"*ELSET, ELSET={name}\n".encode(), wrapped(members, PER_LINE, separator=",")]
        if definitions:
            lines += inp_lines(name, material)
        if sections:
            lines.append(f"*SOLID SECTION, ELSET={name}, MATERIAL={name}")
        out.append("".join(f"{line}\n" for line in lines).encode())
    return [*out, f"** {END}\n".encode()]


def _cdb(path: Path, text: bytes, ids: Int, bins: Bins, materials: tuple[Material, ...]) -> bytes:
    blocks = element_blocks(path, text)
    used = [int(number) for number in NUMBERED.findall(text)]
    used += [
        int(block.fields[~np.isin(block.fields[:, 10], ids), 0].max(initial=0)) for block in blocks
    ]
    first = max(used, default=0) + 1
    order = np.argsort(ids)
    letters = np.frombuffer(text, dtype=np.uint8).copy()
    for block in blocks:
        here = np.isin(block.fields[:, 10], ids)
        member = order[np.searchsorted(ids[order], block.fields[here, 10])]
        place = block.lines[here, None] + np.arange(block.width)
        letters[place] = digits(bins.material[member] + first, block.width)
    newline = b"\r\n" if b"\r\n" in text else b"\n"
    said = f"{len(materials)} materials, error {bins.largest_error:.3%} at most"
    lines = [f"! {BEGIN} (bonekit {__version__}; MPa; {said})"]
    for number, material in enumerate(materials, start=first):
        lines += ansys_lines(number, material)
    block_text = newline.join(line.encode() for line in [*lines, f"! {END}", ""])
    end = blocks[-1].end
    return letters[:end].tobytes() + block_text + letters[end:].tobytes()
