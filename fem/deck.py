"""A solver deck without a format: mesh, materials, sets, surfaces and load steps.

Writers for each format are in `bonekit.fem.deck_calculix` and its neighbours; `write_deck` of
`bonekit.fem.decks` chooses one by the suffix of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.deck_step import Step, distinct
from bonekit.fem.deck_ties import Tie, tied
from bonekit.fem.model import Constraint, Load

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Faces in the order of Abaqus (S1 ...), corners counter-clockwise seen from outside, as FEBio
# wants them; the mid-side nodes of a triangle follow.
FACES: Mapping[int, tuple[tuple[int, ...], ...]] = {
    4: ((0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)),
    10: ((0, 2, 1, 6, 5, 4), (0, 1, 3, 4, 8, 7), (1, 2, 3, 5, 9, 8), (2, 0, 3, 6, 7, 9)),
    8: (
        (0, 3, 2, 1),
        (4, 5, 6, 7),
        (0, 1, 5, 4),
        (1, 2, 6, 5),
        (2, 3, 7, 6),
        (3, 0, 4, 7),
    ),
}
RESERVED = re.compile(r"NALL|EALL|MAT\d+|SPRING\d+")


@dataclass(frozen=True)
class Material:
    """An isotropic elastic material, with von Mises plasticity if it has a hardening table.

    Parameters
    ----------
    E_MPa : float
    nu : float
    hardening : tuple of (float, float)
        Yield stress in MPa at each plastic strain, as in ``((60.0, 0.0), (70.0, 0.02))``; the
        first strain is 0. Empty: elastic.

    Raises
    ------
    InputError
        If a number is out of its range.
    """

    E_MPa: float
    nu: float
    hardening: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.E_MPa) and self.E_MPa > 0):
            raise InputError(f"Young's modulus must be a positive number, got {self.E_MPa} MPa")
        if not -1.0 < self.nu < 0.5:
            raise InputError(f"Poisson's ratio must lie between -1 and 0.5, got {self.nu}")
        table = np.array(self.hardening, dtype=np.float64).reshape(-1, 2)
        if not len(table):
            return
        stress, strain = table.T
        if not (np.isfinite(table).all() and (stress > 0).all()):
            raise InputError(f"yield stresses must be positive numbers, got {stress.tolist()} MPa")
        if strain[0] != 0 or (np.diff(strain) <= 0).any():
            raise InputError(f"plastic strains must rise from 0, got {strain.tolist()}")


@dataclass(frozen=True, eq=False)
class Deck:
    """What a solver needs to know, in mm, N and MPa.

    Node and element numbers are those of the arrays; decks count from 1. Names of sets and
    surfaces share one space, as in Ansys, and are written as `deck_name` gives them.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
    elements : ndarray of int, (n_elements, 4, 8 or 10)
        Tetrahedra of four or ten nodes or hexahedra, nodes in the order of VTK and Abaqus.
    material : ndarray of int, (n_elements,)
        Index into `materials`.
    materials : tuple of Material
        Each in use. Element sets MAT1, MAT2, ... hold their elements.
    node_sets : mapping of str to ndarray of int
        Beside those of the constraints and loads, which have their names.
    element_sets : mapping of str to ndarray of int
        Such as regions.
    surfaces : mapping of str to ndarray of int, (n, 2)
        Element and face; faces are numbered from 0 in the order of Abaqus, see `FACES`.
    steps : tuple of Step
        Without any: mesh, materials and sets only. Caps and springs are part of the model in most
        formats: a deck with any has one step.
    comments : tuple of str
        For the head of the file.

    Raises
    ------
    InputError
        If arrays do not fit together, an element is inverted, a set is empty or names what the
        mesh does not have, names clash, or caps or springs stand beside a second step.
    """

    nodes_mm: Float
    elements: Int
    material: Int
    materials: tuple[Material, ...]
    node_sets: Mapping[str, Int] = field(default_factory=dict)
    element_sets: Mapping[str, Int] = field(default_factory=dict)
    surfaces: Mapping[str, Int] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    comments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_mesh(self.nodes_mm, self.elements)
        _check_materials(self.material, self.materials, len(self.elements))
        for name, nodes in self._named_nodes():
            _check_members("node set", name, nodes, len(self.nodes_mm))
        for name, members in self.element_sets.items():
            _check_members("element set", name, members, len(self.elements))
        for name, faces in self.surfaces.items():
            _check_members("surface", name, faces[:, 0], len(self.elements))
            _check_members("faces of surface", name, faces[:, 1], len(self.faces))
        if len(self.steps) > 1 and any(step.caps or step.supports for step in self.steps):
            raise InputError(
                f"a deck with rigid caps or springs holds one step, this one has {len(self.steps)}:"
                " write a deck for each"
            )
        self._check_names()

    @property
    def n_nodes(self) -> int:
        """Number of nodes, those of pivots not counted."""
        return len(self.nodes_mm)

    @property
    def n_elements(self) -> int:
        """Number of elements, springs not counted."""
        return len(self.elements)

    @cached_property
    def ties(self) -> tuple[Tie, ...]:
        """Rigid caps of the step, if there is one."""
        return tuple(tied(self, cap, deck_name(cap.name)) for s in self.steps for cap in s.caps)

    @property
    def faces(self) -> tuple[tuple[int, ...], ...]:
        """Local nodes of each face of an element."""
        return FACES[self.elements.shape[1]]

    @cached_property
    def all_node_sets(self) -> dict[str, Int]:
        """Nodes of every set, constraint and load by the name in the deck, sorted, each once."""
        return {deck_name(name): distinct(nodes) for name, nodes in self._named_nodes()}

    @cached_property
    def members(self) -> list[Int]:
        """Elements of each material."""
        order = np.argsort(self.material, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.material))[:-1])

    @property
    def plastic(self) -> bool:
        """Whether a material has a hardening table."""
        return any(material.hardening for material in self.materials)

    @property
    def head(self) -> list[str]:
        """Lines for the head of a file."""
        return [
            f"bonekit {__version__}",
            "units: mm, N, MPa (N/mm2)",
            f"{len(self.nodes_mm)} nodes, {len(self.elements)} elements, "
            f"{len(self.materials)} materials",
            *self.comments,
        ]

    def face_nodes(self, name: str) -> Int:
        """Node numbers of each face of a surface, (n, 3, 4 or 6)."""
        element, face = self.surfaces[name].T
        return np.asarray(self.elements[element[:, None], np.array(self.faces)[face]])

    def _named_nodes(self) -> list[tuple[str, Int]]:
        parts: list[Constraint | Load | ElasticSupport | RigidCap] = []
        for step in self.steps:
            parts += [*step.constraints, *step.loads, *step.supports, *step.caps]
        return [*self.node_sets.items(), *((part.name, part.nodes) for part in parts)]

    def _check_names(self) -> None:
        seen: dict[str, Int] = {}
        for name, nodes in self._named_nodes():
            clean = deck_name(name)
            if not np.array_equal(distinct(nodes), seen.setdefault(clean, distinct(nodes))):
                raise InputError(f"names of node sets clash in the deck: two different {clean}")
        names = [*seen, *map(deck_name, (*self.element_sets, *self.surfaces))]
        names += [name for tie in self.ties for name in (tie.pivot, tie.turn)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"names of sets clash in the deck: {', '.join(twice)}")
        taken = [name for name in names if RESERVED.fullmatch(name)]
        if taken:
            raise InputError(f"names of sets clash with those of the deck's own: {taken}")


def deck_name(name: str) -> str:
    """Make a name that every solver reads: capitals, digits and underscores, a letter first."""
    clean = re.sub(r"\W", "_", name.upper(), flags=re.ASCII)
    return clean if clean[:1].isalpha() else f"S_{clean}"


def check_length(deck: Deck, limit: int, solver: str) -> None:
    """Refuse names that a solver would cut off."""
    names = [*deck.all_node_sets, *map(deck_name, (*deck.element_sets, *deck.surfaces))]
    names += [tie.pivot for tie in deck.ties]
    long = [name for name in names if len(name) > limit]
    if long:
        raise InputError(f"{solver} reads {limit} letters of a name; shorten {', '.join(long)}")


def check_mesh(nodes: Float, elements: Int) -> None:
    """Refuse arrays that are no mesh and elements that are inverted or flat.

    Raises
    ------
    InputError
    """
    if nodes.ndim != 2 or nodes.shape[1] != 3 or not np.isfinite(nodes).all():
        raise InputError(f"nodes must be (n, 3) and finite, got shape {nodes.shape}")
    if elements.ndim != 2 or elements.shape[1] not in FACES or not len(elements):
        raise InputError(f"elements must be (n, 4, 8 or 10) with n > 0, got {elements.shape}")
    if elements.min() < 0 or elements.max() >= len(nodes):
        raise InputError(f"an element names a node out of 0..{len(nodes) - 1}")
    wrong = inverted(nodes, elements)
    if wrong.any():
        raise InputError(
            f"{np.count_nonzero(wrong)} of {len(elements)} elements are inverted or flat "
            f"(first: {wrong.argmax()}); of a left-handed grid take mesh.world_elements"
        )


def inverted(nodes: Float, elements: Int) -> NDArray[np.bool_]:
    """Tell which elements, (n, 4, 8 or 10) in VTK's order, are turned inside out or flat."""
    corner = elements[:, [0, 1, 3, 4] if elements.shape[1] == 8 else [0, 1, 2, 3]]
    a, b, c, d = np.moveaxis(nodes[corner], 1, 0)
    return np.asarray(np.einsum("ij,ij->i", b - a, np.cross(c - a, d - a)) <= 0)


def _check_materials(material: Int, materials: tuple[Material, ...], n_elements: int) -> None:
    if material.shape != (n_elements,):
        raise InputError(f"{material.shape} materials for {n_elements} elements")
    _check_members("materials", "of the elements", material, len(materials))
    unused = np.setdiff1d(np.arange(len(materials)), material)
    if unused.size:
        raise InputError(f"{unused.size} materials have no element (first: {unused[0]})")


def _check_members(kind: str, name: str, members: Int, count: int) -> None:
    if not members.size:
        raise InputError(f"{kind} {name!r} is empty")
    missing = members[(members < 0) | (members >= count)]
    if missing.size:
        raise InputError(
            f"{kind} {name!r} names {missing.size} that the mesh does not have "
            f"(first: {missing[0]}; there are 0..{count - 1})"
        )
