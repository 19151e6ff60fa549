"""Decks for CalculiX and Abaqus (.inp).

Keywords are those that both read (CalculiX CrunchiX manual 2.20; Abaqus Keywords Guide). Node
order of C3D4, C3D10 and C3D8 is that of VTK; a number has at most the 20 characters that CalculiX
reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from bonekit.fem.deck import Deck, Material, Step, check_length, deck_name, distinct
from bonekit.fem.deck_text import between, blocks, digits, lines, reals, wrapped
from bonekit.image.writing import replacing

ELEMENT_TYPES = {4: "C3D4", 8: "C3D8", 10: "C3D10"}
NUMBER = "% .12e"  # 19 characters
PER_LINE = 16  # the most that is allowed in a set


def write_calculix_deck(deck: Deck, path: Path | str) -> None:
    """Write a deck for CalculiX and Abaqus; it appears only when it is complete.

    Each material has an element set MAT1, MAT2, ...; NALL and EALL hold all nodes and elements.
    Each step says all that holds and acts in it (OP=NEW), prints the displacement of all nodes and
    the reactions of each constraint to the .dat file, and writes stress and strain.

    Parameters
    ----------
    deck : Deck
    path : path

    Raises
    ------
    InputError
        If a name is too long.
    """
    check_length(deck, 80, "CalculiX")
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        _text(file, *(f"** {line}" for line in deck.head))
        _write_mesh(file, deck)
        _write_materials(file, deck)
        _write_sets(file, deck)
        for number, step in enumerate(deck.steps):
            _write_step(file, step, "" if number == 0 else ", OP=NEW", deck.plastic)


def material_lines(name: str, material: Material) -> list[str]:
    """Lines of a material; also for decks of others."""
    out = [f"*MATERIAL, NAME={name}", "*ELASTIC", _row(material.E_MPa, material.nu)]
    if material.hardening:
        out += ["*PLASTIC", *(_row(stress, strain) for stress, strain in material.hardening)]
    return out


def _write_mesh(file: BinaryIO, deck: Deck) -> None:
    _text(file, "*NODE, NSET=NALL")
    width = len(str(len(deck.nodes_mm)))
    for part in blocks(len(deck.nodes_mm)):
        number = np.arange(part.start, part.stop) + 1
        x, y, z = (reals(column[:, None], NUMBER) for column in deck.nodes_mm[part].T)
        file.write(lines([digits(number, width), ",", x, ",", y, ",", z]))
    _text(file, f"*ELEMENT, TYPE={ELEMENT_TYPES[deck.elements.shape[1]]}, ELSET=EALL")
    for part in blocks(len(deck.elements)):
        number = np.arange(part.start, part.stop) + 1
        file.write(lines(between(",", np.column_stack([number, deck.elements[part] + 1]))))


def _write_materials(file: BinaryIO, deck: Deck) -> None:
    for number, (material, members) in enumerate(
        zip(deck.materials, deck.members, strict=True), start=1
    ):
        name = f"MAT{number}"
        _text(file, f"*ELSET, ELSET={name}")
        file.write(wrapped(members + 1, PER_LINE, separator=","))
        _text(file, *material_lines(name, material))
        _text(file, f"*SOLID SECTION, ELSET={name}, MATERIAL={name}")


def _write_sets(file: BinaryIO, deck: Deck) -> None:
    for name, nodes in deck.all_node_sets.items():
        _text(file, f"*NSET, NSET={name}")
        file.write(wrapped(nodes + 1, PER_LINE, separator=","))
    for name, members in deck.element_sets.items():
        _text(file, f"*ELSET, ELSET={deck_name(name)}")
        file.write(wrapped(distinct(members) + 1, PER_LINE, separator=","))
    for name, faces in deck.surfaces.items():
        _text(file, f"*SURFACE, NAME={deck_name(name)}, TYPE=ELEMENT")
        file.write(lines([*between(",", faces[:, :1] + 1), ",S", digits(faces[:, 1] + 1)]))


def _write_step(file: BinaryIO, step: Step, op: str, plastic: bool) -> None:
    _text(file, f"** step: {step.name}")
    if plastic:  # in increments, which the solver adapts
        _text(file, "*STEP, INC=1000", "*STATIC", "0.1,1.,1e-6,1.")
    else:
        _text(file, "*STEP", "*STATIC")
    node, component, value = step.held()
    _text(file, f"*BOUNDARY{op}")
    dof = between(",", np.column_stack([node, component, component]) + 1)
    file.write(lines([*dof, ",", reals(value[:, None], NUMBER)]))
    acting, force = step.forces()
    if acting.size or op:
        _text(file, f"*CLOAD{op}")
    if acting.size:
        row, axis = np.nonzero(force)
        dof = between(",", np.column_stack([acting[row], axis]) + 1)
        file.write(lines([*dof, ",", reals(force[row, axis][:, None], NUMBER)]))
    _text(file, "*NODE PRINT, NSET=NALL", "U")
    for name in dict.fromkeys(deck_name(part.name) for part in step.constraints):
        _text(file, f"*NODE PRINT, NSET={name}, TOTALS=YES", "RF")
    _text(file, "*NODE FILE", "U, RF", "*EL FILE", "S, E", "*END STEP")


def _row(*values: float) -> str:
    return ",".join(NUMBER.replace(" ", "") % value for value in values)


def _text(file: BinaryIO, *text: str) -> None:
    file.write("".join(f"{line}\n" for line in text).encode("ascii", "replace"))
