"""Decks for Nastran (.bdf): MSC, Simcenter (NX) and Optistruct's bulk data.

Fields as in the MSC Nastran Quick Reference Guide. Real numbers stand in 16 characters (``GRID*``).
Node order of CTETRA and CHEXA is that of VTK. Bricks ask for the standard isoparametric
integration (PSOLID with IN=TWO, ISOP=FULL; quoted from memory: unverified), as the default adds
bubble functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.deck import Deck, Material, deck_name
from bonekit.fem.deck_step import Step, distinct
from bonekit.fem.deck_text import Bytes, blocks, digits, lines, reals, wrapped
from bonekit.fem.deck_ties import Tie
from bonekit.image.writing import replacing

ELEMENT_TYPES = {4: "CTETRA", 8: "CHEXA", 10: "CTETRA"}
REAL = "%16.9e"
BLANK = " " * 8


def write_nastran(deck: Deck, path: Path | str) -> None:
    """Write a deck for Nastran; it appears only when it is complete.

    Property and material 1, 2, ... are the materials of the deck. Sets are SET1 entries, each
    after a comment with its name; a surface is the set of its nodes, as bulk data have no sets of
    faces. Steps are subcases. A rigid cap is an RBE2 on a grid point of its own, behind the nodes;
    springs are CELAS2. Elastic decks are for SOL 101, plastic ones for SOL 106 (MATS1 and
    TABLES1, of stress over total strain).

    Parameters
    ----------
    deck : Deck
    path : path
    """
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        _text(file, *(f"$ {line}" for line in deck.head))
        _text(file, *_case_control(deck), "BEGIN BULK", "PARAM,POST,-1")
        _write_nodes(file, deck)
        _write_elements(file, deck)
        for number, material in enumerate(deck.materials, start=1):
            _text(file, *_property(number, deck.elements.shape[1]), *_material(number, material))
        _write_sets(file, deck)
        for number, tie in enumerate(deck.ties, start=1):
            _write_tie(file, deck, number, tie)
        _write_springs(file, deck)
        for number, step in enumerate(deck.steps, start=1):
            _write_step(file, number, step)
            for place, tie in enumerate(deck.ties, start=1):
                _text(file, *_pivot_lines(number, deck.n_nodes + place, tie))
        if deck.plastic and deck.steps:
            _text(file, "NLPARM  " + _integers(1, 10))
        _text(file, "ENDDATA")


def _case_control(deck: Deck) -> list[str]:
    out = [f"SOL {106 if deck.plastic else 101}", "CEND", "ECHO = NONE"]
    out += ["DISPLACEMENT = ALL", "SPCFORCES = ALL", "STRESS = ALL", "STRAIN = ALL"]
    for number, step in enumerate(deck.steps, start=1):
        out += [f"SUBCASE {number}", f"  SUBTITLE = {step.name}", f"  SPC = {number}"]
        loaded = step.forces()[0].size or any(tie.acting for tie in deck.ties)
        out += [f"  LOAD = {number}"] if loaded else []
        out += ["  NLPARM = 1"] if deck.plastic else []
    return out


def _write_nodes(file: BinaryIO, deck: Deck) -> None:
    for part in blocks(len(deck.nodes_mm)):
        number = digits(np.arange(part.start, part.stop) + 1, 16)
        x, y, z = (reals(column[:, None], REAL) for column in deck.nodes_mm[part].T)
        file.write(lines(["GRID*   ", number, " " * 16, x, y, "*\n*       ", z]))


def _write_elements(file: BinaryIO, deck: Deck) -> None:
    head = f"{ELEMENT_TYPES[deck.elements.shape[1]]:8s}"
    for part in blocks(len(deck.elements)):
        number = digits(np.arange(part.start, part.stop) + 1, 8)
        node = deck.elements[part] + 1
        columns: list[str | Bytes] = [head, number, digits(deck.material[part] + 1, 8)]
        columns.append(digits(node[:, :6], 8))
        if node.shape[1] > 6:
            columns += ["+\n+       ", digits(node[:, 6:], 8)]
        file.write(lines(columns))


def _property(number: int, n_nodes: int) -> list[str]:
    full = f"{'0':>8s}{'TWO':>8s}{'GRID':>8s}{'FULL':>8s}" if n_nodes == 8 else ""
    return [f"PSOLID  {_integers(number, number)}{full}"]


def _material(number: int, material: Material) -> list[str]:
    E, nu = REAL % material.E_MPa, REAL % material.nu
    out = [f"MAT1*   {number:16d}{E}{' ' * 16}{nu}*", "*"]
    if material.hardening:
        first = material.hardening[0][0]
        # fields: material, table, type, slope, yield criterion 1 (von Mises), hardening 1
        # (isotropic), initial yield stress
        out += [f"MATS1*  {number:16d}{number:16d}{'PLASTIC':>16s}{' ' * 16}*"]
        out += [f"*       {1:16d}{1:16d}{REAL % first}"]
        out += _table(number, material)
    return out


def _table(number: int, material: Material) -> list[str]:
    """Stress over total strain, from the origin.

    Nastran goes on along the last slope (Autodesk and Altair reference, TABLES1), Abaqus stays at
    the last stress: a point at one plastic strain more makes Nastran stay there too.
    """
    rows_given = np.array(material.hardening)
    stress, plastic = np.vstack([rows_given, rows_given[-1] + (0.0, 1.0)]).T
    pairs = np.column_stack([stress / material.E_MPa + plastic, stress])
    fields = [REAL % 0.0, REAL % 0.0, *(REAL % x for x in pairs.ravel()), f"{'ENDT':>16s}"]
    rows = [f"*       {''.join(fields[i : i + 4])}*" for i in range(0, len(fields), 4)]
    rows[-1] = rows[-1].removesuffix("*")
    if len(rows) % 2:  # large fields come in pairs of lines
        rows = [*rows[:-1], rows[-1].ljust(72) + "*", "*"]
    return [f"TABLES1*{number:16d}{' ' * 48}*", "*" + " " * 71 + "*", *rows]


def _write_sets(file: BinaryIO, deck: Deck) -> None:
    sets = [("node", name, nodes) for name, nodes in deck.all_node_sets.items()]
    sets += [
        ("surface (nodes)", deck_name(name), distinct(deck.face_nodes(name).ravel()))
        for name in deck.surfaces
    ]
    sets += [("element", deck_name(name), distinct(m)) for name, m in deck.element_sets.items()]
    for number, (kind, name, members) in enumerate(sets, start=1):
        _text(file, f"$ {kind} set {number}: {name}")
        first, rest = members[:7] + 1, members[7:] + 1
        head = f"SET1    {number:8d}".encode() + wrapped(first, 7, 8)
        file.write(head + _continued(rest))


def _continued(numbers: NDArray[np.int64]) -> bytes:
    full = len(numbers) // 8 * 8
    out = b""
    for part in (numbers[:full].reshape(-1, 8), numbers[full:].reshape(1, -1)):
        out += lines([BLANK, digits(part, 8)]) if part.size else b""
    return out


def _write_step(file: BinaryIO, number: int, step: Step) -> None:
    node, component, value = step.held()
    zero = value == 0
    if zero.any():
        where = [digits(component[zero] + 1, 8), digits(node[zero] + 1, 8)]
        file.write(lines([f"SPC1    {number:8d}", *where]))
    if not zero.all():
        where = [digits(node[~zero] + 1, 16), digits(component[~zero] + 1, 16)]
        moved = reals(value[~zero][:, None], REAL)
        file.write(lines([f"SPC*    {number:16d}", *where, moved, "*\n*"]))
    acting, force = step.forces()
    if acting.size:
        head: list[str | Bytes] = [f"FORCE*  {number:16d}", digits(acting + 1, 16)]
        factor = f"{0:16d}{REAL % 1.0}*\n*       "
        file.write(lines([*head, factor, reals(force, REAL)]))


def _write_tie(file: BinaryIO, deck: Deck, number: int, tie: Tie) -> None:
    """Write a cap's pivot and its element, numbered behind those of the mesh."""
    pivot = deck.n_nodes + number
    x, y, z = (REAL % value for value in tie.pivot_mm.tolist())
    _text(file, f"$ {tie.pivot}", f"GRID*   {pivot:16d}{' ' * 16}{x}{y}*", f"*       {z}")
    first, rest = tie.nodes[:5] + 1, tie.nodes[5:] + 1
    head = f"RBE2    {_integers(deck.n_elements + number, pivot, 123)}".encode()
    file.write(head + wrapped(first, 5, 8) + _continued(rest))


def _write_springs(file: BinaryIO, deck: Deck) -> None:
    first = deck.n_elements + len(deck.ties) + 1
    for component, stiffness, nodes in (g for step in deck.steps for g in step.spring_groups()):
        own = digits(np.arange(first, first + len(nodes)), 16)
        grid = digits(nodes + 1, 16)
        file.write(lines(["CELAS2* ", own, REAL % stiffness, grid, f"{component + 1:16d}*\n*"]))
        first += len(nodes)


def _pivot_lines(number: int, pivot: int, tie: Tie) -> list[str]:
    """Entries of a step for a pivot: what is prescribed, its force, its moment."""
    zero = "".join(str(i + 1) for i, value in tie.held if value == 0)
    out = [f"SPC1    {number:8d}{zero:>8s}{pivot:8d}"] if zero else []
    for i, value in tie.held:
        if value:
            out += [f"SPC*    {number:16d}{pivot:16d}{i + 1:16d}{REAL % value}*", "*"]
    for entry, offset in (("FORCE*", 0), ("MOMENT*", 3)):
        vector = [dict(tie.acting).get(offset + i, 0.0) for i in range(3)]
        if any(vector):
            x, y, z = (REAL % value for value in vector)
            out += [f"{entry:8s}{number:16d}{pivot:16d}{0:16d}{REAL % 1.0}*", f"*       {x}{y}{z}"]
    return out


def _integers(*values: int) -> str:
    return "".join(f"{value:8d}" for value in values)


def _text(file: BinaryIO, *text: str) -> None:
    file.write("".join(f"{line}\n" for line in text).encode("ascii", "replace"))
