"""Decks for FEBio (.feb, specification 4.0).

Sections and attributes as the FEBio 4 reader has them (FEBioXML). Node order of tet4, tet10 and
hex8 is that of VTK. FEBio is geometrically nonlinear: at small strains its answer is that of a
linear solver.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

import numpy as np

from bonekit.errors import InputError
from bonekit.fem.deck import Deck, Float, Int, Material, deck_name
from bonekit.fem.deck_step import Step, distinct
from bonekit.fem.deck_text import PAD, Bytes, between, blocks, digits, lines, reals
from bonekit.fem.deck_ties import Tie
from bonekit.image.writing import replacing

ELEMENT_TYPES = {4: "tet4", 8: "hex8", 10: "tet10"}
FACE_TYPES = {3: "tri3", 4: "quad4", 6: "tri6"}
NUMBER = "%+.12e"  # of fixed width, and without blanks
AXES = "xyz"
Springs = list[tuple[int, float, Int]]  # see `Step.spring_groups`
FAR_MM = 1e5  # a sway of 1 mm at the near end stretches the spring by 5e-6 mm
TRANSLATIONS, ROTATIONS = ("Rx", "Ry", "Rz"), ("Ru", "Rv", "Rw")
PLOTTED = ("displacement", "stress", "Lagrange strain", "reaction forces")
CONTROL = (
    "<Control>",
    "<analysis>STATIC</analysis>",
    "<time_steps>10</time_steps>",
    "<step_size>0.1</step_size>",
    '<solver type="solid"><symmetric_stiffness>symmetric</symmetric_stiffness></solver>',
    "</Control>",
)


def write_febio(deck: Deck, path: Path | str) -> None:
    """Write a deck for FEBio 4; it appears only when it is complete.

    Each material is a part MAT1, MAT2, ... of its own. Displacements and forces rise linearly
    over each step, of one second.

    A rigid cap is a rigid body without elements, its centre of mass the pivot; it turns by finite
    rotations. FEBio's springs act along the line between their ends: each has a held end
    `FAR_MM` away along its axis, so that the line keeps its direction.

    Parameters
    ----------
    deck : Deck
    path : path

    Raises
    ------
    InputError
        If a hardening table has more than one slope or softens: FEBio's von Mises plasticity
        knows one slope that is not negative.
    """
    materials = [_material(n, m) for n, m in enumerate(deck.materials, start=1)]
    bodies = [_body(n, t) for n, t in enumerate(deck.ties, start=len(materials) + 1)]
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        _text(file, '<?xml version="1.0" encoding="ISO-8859-1"?>', "<!--")
        _text(file, *(line.replace("--", "- -") for line in deck.head), "-->")
        _text(file, '<febio_spec version="4.0">', '<Module type="solid"/>')
        _text(file, "<Material>", *materials, *bodies, "</Material>", "<Mesh>")
        springs = [group for step in deck.steps for group in step.spring_groups()]
        _write_nodes(file, "ALL", deck.nodes_mm, 1)
        if springs:
            _write_ground(file, deck, springs)
        _write_elements(file, deck)
        _write_sets(file, deck)
        for number, step in enumerate(deck.steps, start=1):
            for name, _, nodes in _fixed(number, step):
                _write_set(file, "NodeSet", name, nodes)
            for name, nodes, _ in _prescribed(number, step):
                _write_set(file, "NodeSet", name, nodes)
        if springs:
            _write_pairs(file, deck, springs)
        _text(file, "</Mesh>", "<MeshDomains>")
        names = [f"MAT{n}" for n in range(1, len(materials) + 1)]
        _text(file, *(f'<SolidDomain name="{name}" mat="{name}"/>' for name in names))
        _text(file, "</MeshDomains>")
        _text(file, *_discrete(springs))
        if deck.steps:
            _write_steps(file, deck)
        _text(file, "</febio_spec>")


def _material(number: int, material: Material) -> str:
    kind, more = "isotropic elastic", ""
    if material.hardening:
        kind = "von-Mises plasticity"
        more = "<Y>{:.12e}</Y><H>{:.12e}</H>".format(*_slope(material))
    return (
        f'<material id="{number}" name="MAT{number}" type="{kind}">'
        f"<E>{material.E_MPa:.12e}</E><v>{material.nu:.12e}</v>{more}</material>"
    )


def _slope(material: Material) -> tuple[float, float]:
    """Yield stress and slope of the yield stress over the plastic strain, in MPa."""
    stress, strain = np.array(material.hardening).T
    slope = np.diff(stress) / np.diff(strain) if len(stress) > 1 else np.zeros(1)
    if len(slope) > 1 or slope[0] < 0:
        raise InputError(
            f"FEBio's von Mises plasticity takes a yield stress and one slope of 0 or more; got a "
            f"table of {len(stress)} rows, slopes {slope.tolist()} MPa. Write .inp, .cdb or .bdf"
        )
    return float(stress[0]), float(slope[0])


def _write_nodes(file: BinaryIO, name: str, nodes_mm: Float, first: int) -> None:
    _text(file, f'<Nodes name="{name}">')
    for part in blocks(len(nodes_mm)):
        number = digits(np.arange(part.start, part.stop) + first, 0, PAD)
        x, y, z = (reals(column[:, None], NUMBER) for column in nodes_mm[part].T)
        file.write(lines(['<node id="', number, '">', x, ",", y, ",", z, "</node>"]))
    _text(file, "</Nodes>")


def _write_elements(file: BinaryIO, deck: Deck) -> None:
    kind = ELEMENT_TYPES[deck.elements.shape[1]]
    for material, members in enumerate(deck.members, start=1):
        _text(file, f'<Elements type="{kind}" name="MAT{material}">')
        for part in blocks(len(members)):
            number = digits(members[part] + 1, 0, PAD)
            nodes = between(",", deck.elements[members[part]] + 1)
            file.write(lines(['<elem id="', number, '">', *nodes, "</elem>"]))
        _text(file, "</Elements>")


def _write_sets(file: BinaryIO, deck: Deck) -> None:
    for name in deck.surfaces:
        faces = deck.face_nodes(name)
        kind = FACE_TYPES[faces.shape[1]]
        number = digits(np.arange(len(faces)) + 1, 0, PAD)
        _text(file, f'<Surface name="{deck_name(name)}">')
        file.write(lines([f'<{kind} id="', number, '">', *between(",", faces + 1), f"</{kind}>"]))
        _text(file, "</Surface>")
    for name, members in deck.element_sets.items():
        _write_set(file, "ElementSet", deck_name(name), distinct(members))
    for name, nodes in deck.all_node_sets.items():
        _write_set(file, "NodeSet", name, nodes)


def _write_set(file: BinaryIO, tag: str, name: str, members: Int) -> None:
    numbers = lines([digits(members + 1, 0, PAD), ","]).translate(None, b"\n")[:-1]
    file.write(f'<{tag} name="{name}">'.encode() + numbers + f"</{tag}>\n".encode())


def _body(number: int, tie: Tie) -> str:
    centre = ",".join(NUMBER % x for x in tie.pivot_mm)
    return (
        f'<material id="{number}" name="{tie.pivot}" type="rigid body"><density>1</density>'
        f"<center_of_mass>{centre}</center_of_mass></material>"
    )


def _write_ground(file: BinaryIO, deck: Deck, springs: Springs) -> None:
    """Write the far ends of springs, numbered behind the nodes of the mesh."""
    far = [deck.nodes_mm[nodes] + FAR_MM * np.eye(3)[component] for component, _, nodes in springs]
    _write_nodes(file, "GROUND", np.vstack(far), deck.n_nodes + 1)


def _write_pairs(file: BinaryIO, deck: Deck, springs: Springs) -> None:
    """Write which nodes springs connect, and the set of their far ends."""
    first = deck.n_nodes + 1
    total = sum(len(nodes) for *_, nodes in springs)
    _write_set(file, "NodeSet", "GROUND_HELD", np.arange(first, first + total) - 1)
    for number, (_, _, nodes) in enumerate(springs, start=1):
        far = np.arange(first, first + len(nodes))
        _text(file, f'<DiscreteSet name="SPRING{number}">')
        pairs = between(",", np.column_stack([nodes + 1, far]))
        file.write(lines(["<delem>", *pairs, "</delem>"]))
        _text(file, "</DiscreteSet>")
        first += len(nodes)


def _discrete(springs: Springs) -> list[str]:
    kinds = [
        f'<discrete_material id="{n}" name="SPRING{n}" type="linear spring"><E>{k:.12e}</E>'
        "</discrete_material>"
        for n, (_, k, _) in enumerate(springs, start=1)
    ]
    sets = [f'<discrete dmat="{n}" discrete_set="SPRING{n}"/>' for n in range(1, len(springs) + 1)]
    return ["<Discrete>", *kinds, *sets, "</Discrete>"] if springs else []


def _write_steps(file: BinaryIO, deck: Deck) -> None:
    steps = deck.steps
    _text(file, "<MeshData>")
    for number, step in enumerate(steps, start=1):
        for name, _, values in _prescribed(number, step):
            if not _uniform(values):
                _write_map(file, name, values)
    _text(file, "</MeshData>", "<Step>")
    for number, step in enumerate(steps, start=1):
        _text(file, f'<step id="{number}" name={quoteattr(step.name)}>', *CONTROL)
        _text(file, "<Boundary>", *_boundary(number, step), *_followers(deck), "</Boundary>")
        if step.forces()[0].size:
            _text(file, "<Loads>", *_loads(number, step), "</Loads>")
        if deck.ties:
            _text(
                file, "<Rigid>", *(x for tie in deck.ties for x in _rigid(number, tie)), "</Rigid>"
            )
        _text(file, "</step>")
    _text(file, "</Step>", "<LoadData>")
    for number in range(1, len(steps) + 1):
        points = f"<pt>{number - 1},0</pt><pt>{number},1</pt>"
        _text(
            file,
            f'<load_controller id="{number}" type="loadcurve"><interpolate>LINEAR</interpolate>'
            f"<extend>CONSTANT</extend><points>{points}</points></load_controller>",
        )
    _text(file, "</LoadData>", "<Output>", '<plotfile type="febio">')
    _text(
        file, *(f'<var type="{name}"/>' for name in ("displacement", "stress", "Lagrange strain"))
    )
    _text(file, '<var type="reaction forces"/>', "</plotfile>", "</Output>")


def _fixed(number: int, step: Step) -> list[tuple[str, int, Int]]:
    """Name, component and nodes of what is held at zero."""
    node, component, value = step.held()
    sets = [(c, node[(component == c) & (value == 0)]) for c in range(3)]
    return [(f"STEP{number}_{AXES[c]}_HELD", c, nodes) for c, nodes in sets if nodes.size]


def _prescribed(number: int, step: Step) -> list[tuple[str, Int, Float]]:
    """Name, nodes and values of what is moved, by component, and of the forces."""
    node, component, value = step.held()
    out: list[tuple[str, Int, Float]] = []
    for c in range(3):
        moved = (component == c) & (value != 0)
        out.append((f"STEP{number}_{AXES[c]}_MOVED", node[moved], value[moved][:, None]))
    out.append((f"STEP{number}_FORCE", *step.forces()))
    return [part for part in out if part[1].size]


def _boundary(number: int, step: Step) -> list[str]:
    out = []
    for name, held, _ in _fixed(number, step):
        dofs = "".join(f"<{a}_dof>{int(c == held)}</{a}_dof>" for c, a in enumerate(AXES))
        out.append(f'<bc name="{name}" type="zero displacement" node_set="{name}">{dofs}</bc>')
    for name, _, values in _prescribed(number, step):
        if values.shape[1] == 1:
            out.append(
                f'<bc name="{name}" type="prescribed displacement" node_set="{name}">'
                f"<dof>{name.split('_')[1]}</dof>{_value(number, name, values)}"
                "<relative>0</relative></bc>"
            )
    return out


def _followers(deck: Deck) -> list[str]:
    """Boundary conditions of the nodes of rigid bodies, and of the far ends of springs."""
    out = [
        f'<bc name="{tie.pivot}" type="rigid" node_set="{tie.name}"><rb>{tie.pivot}</rb></bc>'
        for tie in deck.ties
    ]
    if any(step.supports for step in deck.steps):
        dofs = "".join(f"<{a}_dof>1</{a}_dof>" for a in AXES)
        out.append(
            f'<bc name="GROUND_HELD" type="zero displacement" node_set="GROUND_HELD">{dofs}</bc>'
        )
    return out


def _rigid(number: int, tie: Tie) -> list[str]:
    """Hold and load a rigid body: its six components are x, y, z and turns about them."""
    names, body = (*TRANSLATIONS, *ROTATIONS), f"<rb>{tie.pivot}</rb>"
    fixed = "".join(f"<{names[i]}_dof>1</{names[i]}_dof>" for i, value in tie.held if value == 0)
    out = [f'<rigid_bc type="rigid_fixed">{body}{fixed}</rigid_bc>'] if fixed else []
    for i, value in tie.held:
        kind, dof = ("displacement", AXES[i]) if i < 3 else ("rotation", names[i])
        if value:
            out.append(
                f'<rigid_bc type="rigid_{kind}">{body}<dof>{dof}</dof><relative>0</relative>'
                f'<value lc="{number}">{value:.12e}</value></rigid_bc>'
            )
    for i, value in tie.acting:
        kind, more = ("force", "<load_type>0</load_type>") if i < 3 else ("moment", "")
        out.append(
            f'<rigid_load type="rigid_{kind}">{body}<dof>{names[i]}</dof><relative>0</relative>'
            f'{more}<value lc="{number}">{value:.12e}</value></rigid_load>'
        )
    return out


def _loads(number: int, step: Step) -> list[str]:
    name, values = f"STEP{number}_FORCE", step.forces()[1]
    return [
        f'<nodal_load name="{name}" type="nodal_force" node_set="{name}">'
        f"{_value(number, name, values)}</nodal_load>"
    ]


def _uniform(values: Float) -> bool:
    return bool((values == values[0]).all())


def _value(number: int, name: str, values: Float) -> str:
    """Name the map of values, or give the one value that all nodes have."""
    if not _uniform(values):
        return f'<value lc="{number}" type="map">{name}</value>'
    return f'<value lc="{number}">{",".join(NUMBER % x for x in values[0])}</value>'


def _write_map(file: BinaryIO, name: str, values: Float) -> None:
    """Write values at nodes; they are numbered as they stand in their set."""
    kind = "scalar" if values.shape[1] == 1 else "vec3"
    number = digits(np.arange(len(values)) + 1, 0, PAD)
    columns: list[str | Bytes] = []
    for column in values.T:
        columns += [reals(column[:, None], NUMBER), ","]
    _text(file, f'<NodeData name="{name}" node_set="{name}" data_type="{kind}">')
    file.write(lines(['<node lid="', number, '">', *columns[:-1], "</node>"]))
    _text(file, "</NodeData>")


def _text(file: BinaryIO, *text: str) -> None:
    file.write("".join(f"{line}\n" for line in text).encode("ascii", "replace"))
