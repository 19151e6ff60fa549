"""Decks for CalculiX and Abaqus (.inp).

Keywords are those that both read (CalculiX CrunchiX manual 2.20; Abaqus Keywords Guide). Node
order of C3D4, C3D10 and C3D8 is that of VTK; a number has at most the 20 characters that CalculiX
reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from bonekit.fem.deck import Deck, Material, check_length, deck_name
from bonekit.fem.deck_step import Step, distinct
from bonekit.fem.deck_text import between, blocks, digits, lines, reals, wrapped
from bonekit.fem.deck_ties import Tie
from bonekit.image.writing import replacing

ELEMENT_TYPES = {4: "C3D4", 8: "C3D8", 10: "C3D10"}
NUMBER = "% .12e"  # 19 characters
PER_LINE = 16  # the most that is allowed in a set


def write_calculix_deck(deck: Deck, path: Path | str) -> None:
    """Write a deck for CalculiX and Abaqus; it appears only when it is complete.

    Each material has an element set MAT1, MAT2, ...; NALL and EALL hold all nodes and elements.
    Each step says all that holds and acts in it (OP=NEW), prints the displacement of all nodes and
    the reactions of each constraint to the .dat file, and writes stress and strain.

    A rigid cap is linear equations (``*EQUATION``, small rotations) between its nodes and two more:
    the first, PIVOT_ and the cap's name, has the pivot's translation, the second, TURN_ and the
    name, the rotation in rad for its displacement. Both solvers read these, while their
    ``*RIGID BODY`` differ. The force through a cap is the total of its nodes' RF. Springs are
    elements SPRING1.

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
        for number, tie in enumerate(deck.ties):
            _write_tie(file, tie, deck.n_nodes + 2 * number + 1)
        _write_springs(file, deck)
        for number, step in enumerate(deck.steps):
            _write_step(file, deck, step, "" if number == 0 else ", OP=NEW")


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


def _write_tie(file: BinaryIO, tie: Tie, pivot: int) -> None:
    """Write the reference nodes, `pivot` and the next, and the equations of the others."""
    for number, name in enumerate((tie.pivot, tie.turn), start=pivot):
        _text(file, f"*NODE, NSET={name}", f"{number},{_row(*tie.pivot_mm.tolist())}")
    node, component, arm = tie.equations()
    _text(file, "*EQUATION")
    for axis in range(3):
        own = component == axis
        first = between(",", np.column_stack([node[own] + 1, component[own] + 1]))
        follows = f",1.,{pivot},{axis + 1},-1.,{pivot + 1},{(axis + 1) % 3 + 1},"
        second = f",{pivot + 1},{(axis + 2) % 3 + 1},"
        arms = [reals(-arm[own, i, None], NUMBER) for i in range(2)]
        file.write(lines(["4\n", *first, follows, arms[0], second, arms[1]]))


def _write_springs(file: BinaryIO, deck: Deck) -> None:
    groups = [group for step in deck.steps for group in step.spring_groups()]
    first = deck.n_elements + 1
    for number, (component, stiffness, nodes) in enumerate(groups, start=1):
        _text(file, f"*ELEMENT, TYPE=SPRING1, ELSET=SPRING{number}")
        own = np.arange(first, first + len(nodes))
        file.write(lines(between(",", np.column_stack([own, nodes + 1]))))
        first += len(nodes)
        _text(file, f"*SPRING, ELSET=SPRING{number}", f"{component + 1}", _row(stiffness))


def _write_step(file: BinaryIO, deck: Deck, step: Step, op: str) -> None:
    _text(file, f"** step: {step.name}")
    if deck.plastic:  # in increments, which the solver adapts
        _text(file, "*STEP, INC=1000", "*STATIC", "0.1,1.,1e-6,1.")
    else:
        _text(file, "*STEP", "*STATIC")
    node, component, value = step.held()
    moved = [_of_pivots(deck, tie, number, tie.held) for number, tie in enumerate(deck.ties)]
    if node.size or any(moved):
        _text(file, f"*BOUNDARY{op}")
        dof = between(",", np.column_stack([node, component, component]) + 1)
        file.write(lines([*dof, ",", reals(value[:, None], NUMBER)]))
        _text(file, *(f"{n},{c},{c},{_row(x)}" for part in moved for n, c, x in part))
    acting, force = step.forces()
    pushed = [_of_pivots(deck, tie, number, tie.acting) for number, tie in enumerate(deck.ties)]
    if acting.size or op or any(pushed):
        _text(file, f"*CLOAD{op}")
    if acting.size:
        row, axis = np.nonzero(force)
        dof = between(",", np.column_stack([acting[row], axis]) + 1)
        file.write(lines([*dof, ",", reals(force[row, axis][:, None], NUMBER)]))
    _text(file, *(f"{n},{c},{_row(x)}" for part in pushed for n, c, x in part))
    _text(file, "*NODE PRINT, NSET=NALL", "U")
    held = [*(part.name for part in step.constraints), *(cap.name for cap in step.caps)]
    for name in dict.fromkeys(map(deck_name, held)):
        _text(file, f"*NODE PRINT, NSET={name}, TOTALS=YES", "RF")
    for tie in deck.ties:
        _text(file, *(f"*NODE PRINT, NSET={name}\nU" for name in (tie.pivot, tie.turn)))
    _text(file, "*NODE FILE", "U, RF", "*EL FILE", "S, E", "*END STEP")


def _of_pivots(
    deck: Deck, tie: Tie, number: int, components: list[tuple[int, float]]
) -> list[tuple[int, int, float]]:
    """Give reference node, component from 1 to 3, value; rotations are the second node's."""
    first = deck.n_nodes + 2 * number + 1
    return [(first + i // 3, i % 3 + 1, value) for i, value in components]


def _row(*values: float) -> str:
    return ",".join(NUMBER.replace(" ", "") % value for value in values)


def _text(file: BinaryIO, *text: str) -> None:
    file.write("".join(f"{line}\n" for line in text).encode("ascii", "replace"))
