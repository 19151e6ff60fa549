"""A small block as a deck, for the tests of writers and readers."""

from collections.abc import Callable

import numpy as np
import pytest
import pyvista as pv

from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.deck import FACES, Deck
from bonekit.fem.deck_step import Step
from bonekit.fem.decks import deck_of
from bonekit.fem.model import Constraint, Load

EDGES = np.array([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)])
MODULI = np.array([5000.0, 2000.0, 500.0])


def _block(n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and elements of 4, 8 or 10 nodes; those of ten are curved."""
    image = pv.ImageData(dimensions=(3, 3, 4), spacing=(1.3, 1.3, 1.3), origin=(5, -20, 30))
    if n_nodes == 8:
        grid = image.cast_to_unstructured_grid()
        cells = grid.cells_dict[pv.CellType.VOXEL][:, [0, 1, 3, 2, 4, 5, 7, 6]]
        return np.asarray(grid.points, dtype=np.float64), cells.astype(np.int64)
    grid = image.to_tetrahedra(5)
    nodes = np.asarray(grid.points, dtype=np.float64)
    cells = grid.cells_dict[pv.CellType.TETRA].astype(np.int64)
    a, b, c, d = np.moveaxis(nodes[cells], 1, 0)
    turned = np.einsum("ij,ij->i", b - a, np.cross(c - a, d - a)) < 0
    cells[turned] = cells[turned][:, [0, 2, 1, 3]]
    if n_nodes == 10:
        pairs, where = np.unique(
            np.sort(cells[:, EDGES], axis=2).reshape(-1, 2), axis=0, return_inverse=True
        )
        cells = np.hstack([cells, len(nodes) + where.reshape(-1, 6)])
        nodes = np.vstack([nodes, nodes[pairs].mean(axis=1)])
    return nodes, cells


def _sample(n_nodes: int, n_steps: int = 2, hardening: object = None) -> Deck:
    """Deck of a block between plates, pressed in one step and pulled in the next."""
    nodes, elements = _block(n_nodes)
    rng = np.random.default_rng(0)
    z = nodes[:, 2]
    bottom, top = np.flatnonzero(z < z.min() + 1e-6), np.flatnonzero(z > z.max() - 1e-6)
    on_top = np.isin(elements, top)
    faces = [
        (e, f)
        for f, corners in enumerate(FACES[n_nodes])
        for e in np.flatnonzero(on_top[:, list(corners)].all(axis=1))
    ]
    steps = (
        Step(
            "press",
            (Constraint("bottom", bottom), Constraint("top plate", top, (0, 2), [0.0, -0.02])),
        ),
        Step(
            "pull",
            (Constraint("bottom", bottom),),
            (Load("pull", top, rng.normal(size=(top.size, 3))),),
        ),
    )
    upper = np.flatnonzero(z[elements].mean(axis=1) > 32)
    deck, _ = deck_of(
        nodes,
        elements,
        rng.choice(MODULI, len(elements)),
        0.3,
        0.0,
        hardening=hardening,
        node_sets={"corner": np.array([0, 1])},
        element_sets={"R_lesion": upper},
        surfaces={"top face": np.array(faces)},
        steps=steps[:n_steps],
    )
    return deck


@pytest.fixture
def block() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Nodes and elements of so many nodes."""
    return _block


@pytest.fixture
def sample() -> Callable[..., Deck]:
    """Deck of elements of so many nodes, of one or two steps."""
    return _sample


def _tied(n_nodes: int) -> Deck:
    """Deck of a block on uneven springs, its top a rigid cap that is held, moved and twisted."""
    nodes, elements = _block(n_nodes)
    z = nodes[:, 2]
    bottom, top = np.flatnonzero(z < z.min() + 1e-6), np.flatnonzero(z > z.max() - 1e-6)
    cap = RigidCap(
        "head",
        top[::-1],
        nodes[top].mean(axis=0) + np.array([0.5, 0.25, 3.0]),
        (0.0, -0.02, None),
        (None, 0.001, None),
        (7.0, 0.0, -100.0),
        (30.0, 0.0, 0.0),
    )
    stiffness = np.tile([40.0, 0.0, 60.0], (bottom.size, 1))
    stiffness[0] = 80.0
    step = Step("press", (), (), (ElasticSupport("bed", bottom, stiffness),), (cap,))
    E = np.random.default_rng(0).choice(MODULI, len(elements))
    return deck_of(nodes, elements, E, 0.3, 0.0, steps=[step])[0]


@pytest.fixture
def tied() -> Callable[[int], Deck]:
    """Deck with a rigid cap and springs, of elements of so many nodes."""
    return _tied
