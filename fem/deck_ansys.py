"""Decks for Ansys Mechanical APDL (.cdb), read there with CDREAD,DB or /INPUT.

Blocks as CDWRITE writes them (Mechanical APDL Command Reference: NBLOCK, EBLOCK, CMBLOCK).
Node order of SOLID187 and SOLID185 is that of VTK; a tetrahedron of four nodes is the degenerate
SOLID185 I,J,K,K,M,M,M,M of the Element Reference. Ansys offers no plain full integration for
SOLID185: its bricks use selective reduced integration (B-bar), so their answer differs from C3D8.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from bonekit.fem.deck import Deck, Int, Material, check_length, deck_name
from bonekit.fem.deck_step import Step, distinct
from bonekit.fem.deck_text import Bytes, between, blocks, digits, lines, reals, wrapped
from bonekit.image.writing import replacing

ELEMENT_TYPES = {4: 185, 8: 185, 10: 187}
ORDER = {4: [0, 1, 2, 2, 3, 3, 3, 3], 8: list(range(8)), 10: list(range(10))}
NUMBER = "%.12e"
DISPLACEMENTS = ("UX", "UY", "UZ", "ROTX", "ROTY", "ROTZ")
FORCES = ("FX", "FY", "FZ", "MX", "MY", "MZ")


def write_ansys(deck: Deck, path: Path | str) -> None:
    """Write a deck for Ansys; it appears only when it is complete.

    Material 1, 2, ... and the element components MAT1, MAT2, ... are those of the deck. A surface
    is written as the component of its nodes, as Ansys has no sets of faces: NSEL and SF find the
    faces. With one step its constraints and forces are in the model; with several, each is
    written as a load step file (LSWRITE), to be solved with LSSOLVE.

    A rigid cap has a node of its own with a mass element MASS21, which gives it rotations (its mass
    plays no part in statics), and CERIG makes the others follow; springs are COMBIN14 of one
    component each, to nodes of their own at the same place that are held. Such nodes and elements
    come behind those of the mesh.

    Parameters
    ----------
    deck : Deck
    path : path

    Raises
    ------
    InputError
        If a name is longer than 32 letters.
    """
    check_length(deck, 32, "Ansys")
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        _text(file, *(f"! {line}" for line in deck.head), "/PREP7")
        _text(file, *_types(deck))
        _write_nodes(file, deck)
        _write_elements(file, deck)
        for number, material in enumerate(deck.materials, start=1):
            _text(file, *material_lines(number, material))
        _write_components(file, deck)
        for pivot, tie in enumerate(deck.ties, start=deck.n_nodes + 1):
            _text(file, f"CMSEL,S,{tie.name}", f"CERIG,{pivot},ALL,UXYZ", "ALLSEL")
        if len(deck.steps) == 1:
            _write_step(file, deck.steps[0])
            _write_pivots(file, deck)
            ground = np.arange(sum(map(len, _springs(deck)))) + deck.n_nodes + len(deck.ties) + 1
            file.write(lines(["D,", *between(",", ground[:, None]), ",ALL,0."]))
        _text(file, "FINISH")
        if len(deck.steps) > 1:
            _write_steps(file, deck.steps)


def material_lines(number: int, material: Material) -> list[str]:
    """Commands of a material: modulus, Poisson's ratio, multilinear isotropic hardening."""
    out = [f"MP,EX,{number},{NUMBER % material.E_MPa}", f"MP,PRXY,{number},{NUMBER % material.nu}"]
    if material.hardening:
        out += [f"TB,PLASTIC,{number},1,{len(material.hardening)},MISO", "TBTEMP,0"]
        out += [f"TBPT,DEFI,{NUMBER % strain},{NUMBER % s}" for s, strain in material.hardening]
    return out


def _springs(deck: Deck) -> list[Int]:
    """Nodes of each group of springs."""
    return [nodes for step in deck.steps for _, _, nodes in step.spring_groups()]


def _types(deck: Deck) -> list[str]:
    """Element types and real constants: 2 for pivots, 3 to 5 for springs along x, y, z."""
    out = [f"ET,1,{ELEMENT_TYPES[deck.elements.shape[1]]}"]
    if deck.ties:
        out += ["ET,2,21", f"R,2{',1e-9' * 6}"]
    groups = [group for step in deck.steps for group in step.spring_groups()]
    for component in sorted({group[0] for group in groups}):
        out += [f"ET,{component + 3},14", f"KEYOPT,{component + 3},2,{component + 1}"]
    return out + [f"R,{n},{NUMBER % k}" for n, (_, k, _) in enumerate(groups, start=3)]


def _write_nodes(file: BinaryIO, deck: Deck) -> None:
    on_springs = [deck.nodes_mm[nodes] for nodes in _springs(deck)]
    nodes = np.vstack([deck.nodes_mm, *(tie.pivot_mm for tie in deck.ties), *on_springs])
    count = len(nodes)
    _text(file, f"NBLOCK,6,SOLID,{count:9d},{count:9d}", "(3i9,6e21.13)")
    for part in blocks(count):
        number = digits(np.arange(part.start, part.stop) + 1, 9)
        file.write(lines([number, f"{0:9d}{0:9d}", reals(nodes[part], "%21.13E")]))
    _text(file, "N,R5.3,LOC,       -1,")


def _write_elements(file: BinaryIO, deck: Deck) -> None:
    """Fields: material, type, real, section, ESYS, dead, solid model, shape, nodes, -, number."""
    order = ORDER[deck.elements.shape[1]]
    middle = "".join(f"{x:9d}" for x in (1, 1, 1, 0, 0, 0, 0, len(order), 0))
    more = sum(map(len, _springs(deck))) + len(deck.ties)
    count = deck.n_elements + more
    _text(file, f"EBLOCK,19,SOLID,{count:9d},{count:9d}", "(19i9)")
    for part in blocks(deck.n_elements):
        material = digits(deck.material[part] + 1, 9)
        number = digits(np.arange(part.start, part.stop) + 1, 9)
        node = deck.elements[part][:, order] + 1
        rest: list[str | Bytes] = ["\n", digits(node[:, 8:], 9)] if len(order) > 8 else []
        file.write(lines([material, middle, number, digits(node[:, :8], 9), *rest]))
    if more:
        file.write(_other_elements(deck))
    _text(file, f"{-1:9d}")


def _other_elements(deck: Deck) -> bytes:
    """Mass elements of pivots, and springs."""
    out = b""
    element, node = deck.n_elements + 1, deck.n_nodes + 1
    for _ in deck.ties:
        out += wrapped(np.array([1, 2, 2, 1, 0, 0, 0, 0, 1, 0, element, node]), 12, 9)
        element, node = element + 1, node + 1
    groups = [group for step in deck.steps for group in step.spring_groups()]
    for real, (component, _, nodes) in enumerate(groups, start=3):
        head = "".join(f"{x:9d}" for x in (1, component + 3, real, 1, 0, 0, 0, 0, 2, 0))
        own = [np.arange(first, first + len(nodes)) for first in (element, node)]
        out += lines([head, digits(own[0], 9), digits(nodes + 1, 9), digits(own[1], 9)])
        element, node = element + len(nodes), node + len(nodes)
    return out


def _write_components(file: BinaryIO, deck: Deck) -> None:
    sets = [("NODE", name, nodes) for name, nodes in deck.all_node_sets.items()]
    sets += [
        ("NODE", deck_name(name), distinct(deck.face_nodes(name).ravel())) for name in deck.surfaces
    ]
    sets += [
        ("NODE", tie.pivot, np.array([pivot]))
        for pivot, tie in enumerate(deck.ties, start=deck.n_nodes)
    ]
    sets += [("ELEM", f"MAT{n}", members) for n, members in enumerate(deck.members, start=1)]
    sets += [("ELEM", deck_name(name), distinct(m)) for name, m in deck.element_sets.items()]
    for kind, name, members in sets:
        _text(file, f"CMBLOCK,{name},{kind},{len(members):8d}", "(8i10)")
        file.write(wrapped(members + 1, 8, 10))


def _write_step(file: BinaryIO, step: Step) -> None:
    node, component, value = step.held()
    axis = np.frombuffer(b"XYZ", dtype=np.uint8)
    held = [*between(",", node[:, None] + 1), ",U", axis[component][:, None], ","]
    file.write(lines(["D,", *held, reals(value[:, None], "% .12e")]))
    acting, force = step.forces()
    row, component = np.nonzero(force)
    if row.size:
        loaded = [*between(",", acting[row, None] + 1), ",F", axis[component][:, None], ","]
        file.write(lines(["F,", *loaded, reals(force[row, component][:, None], "% .12e")]))


def _write_pivots(file: BinaryIO, deck: Deck) -> None:
    for pivot, tie in enumerate(deck.ties, start=deck.n_nodes + 1):
        _text(file, *(f"D,{pivot},{DISPLACEMENTS[i]},{NUMBER % value}" for i, value in tie.held))
        _text(file, *(f"F,{pivot},{FORCES[i]},{NUMBER % value}" for i, value in tie.acting))


def _write_steps(file: BinaryIO, steps: tuple[Step, ...]) -> None:
    _text(file, "/SOLU", "ANTYPE,STATIC")
    for number, step in enumerate(steps, start=1):
        _text(file, f"! step: {step.name}", "DDELE,ALL,ALL", "FDELE,ALL,ALL", f"TIME,{number}")
        _write_step(file, step)
        _text(file, f"LSWRITE,{number}")
    _text(file, "FINISH")


def _text(file: BinaryIO, *text: str) -> None:
    file.write("".join(f"{line}\n" for line in text).encode("ascii", "replace"))
