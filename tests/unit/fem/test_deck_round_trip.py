"""Any deck of a small mesh, written and read back: the same nodes, elements, sets and materials."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonekit.fem.cdb_reading import element_blocks
from bonekit.fem.deck import FACES, Deck, deck_name
from bonekit.fem.deck_reading import read_deck
from bonekit.fem.deck_rewriting import with_materials
from bonekit.fem.decks import deck_of, write_deck
from bonekit.image.volume import Grid
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.voxel import VoxelMesh

CUT = np.array([(0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6)])
KINDS = {4: "tetra", 8: "hexahedron", 10: "tetra10"}
NAMES = st.text("abcXYZ019_ .-é", min_size=1, max_size=12)


def mesh_of(n_nodes: int, cells: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, moved a little, and elements of the cells that are set; all nodes are used."""
    bricks = VoxelMesh(cells.astype(np.uint8), Grid.of(cells.shape, 2.0, (-5.0, 900.0, 0.1)), {})
    nodes, elements = bricks.nodes_mm, bricks.elements
    nodes = nodes + np.random.default_rng(seed).uniform(-0.2, 0.2, nodes.shape)
    if n_nodes == 8:
        return nodes, elements
    tetrahedra = elements[:, CUT].reshape(-1, 4)
    if n_nodes == 4:
        return nodes, tetrahedra
    made = quadratic(nodes, tetrahedra)
    return made.nodes_mm, made.tetrahedra


@st.composite
def decks(draw: st.DrawFn) -> Deck:
    n_nodes = draw(st.sampled_from(sorted(KINDS)))
    shape = draw(st.tuples(*3 * [st.integers(1, 3)]))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    cells = rng.random(shape) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    cells[0, 0, 0] = True
    nodes, elements = mesh_of(n_nodes, cells, seed)
    moduli = draw(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=5, unique_by="{:.9e}".format))
    some = lambda n: np.flatnonzero(rng.random(n) < 0.5)  # noqa: E731
    names = draw(st.lists(NAMES, max_size=5, unique_by=deck_name))
    node_sets, element_sets, surfaces = {}, {}, {}
    for i, name in enumerate(names):
        if i % 3 == 0:
            node_sets[name] = np.append(some(len(nodes)), 0)
        elif i % 3 == 1:
            element_sets[name] = np.append(some(len(elements)), 0)[::-1]
        else:
            face = rng.integers(len(FACES[n_nodes]), size=2)
            surfaces[name] = np.column_stack([rng.integers(len(elements), size=2), face])
    E = rng.choice(moduli, len(elements))
    sets = {"node_sets": node_sets, "element_sets": element_sets, "surfaces": surfaces}
    return deck_of(nodes, elements, E, draw(st.floats(-0.9, 0.49)), 0.0, **sets)[0]


def materials_in(path: Path, deck: Deck) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of each element's material, from 0, and moduli and Poisson's ratios, from a file."""
    text = path.read_text(encoding="ascii")
    if path.suffix == ".inp":
        own = np.full(deck.n_elements, -1)
        for name, members in read_deck(path).element_sets.items():
            if found := re.fullmatch(r"MAT(\d+)", name):
                assert f"*SOLID SECTION, ELSET={name}, MATERIAL={name}\n" in text
                own[members - 1] = int(found[1]) - 1
        rows = re.findall(r"\*MATERIAL, NAME=MAT\d+\n\*ELASTIC\n(.*),(.*)\n", text)
        E, nu = np.array(rows, dtype=float).T
        return own, E, nu
    (block,) = element_blocks(path, path.read_bytes())
    E, nu = (
        np.array([float(x) for x in re.findall(rf"^MP,{key},\d+,(.*)$", text, re.M)])
        for key in ("EX", "PRXY")
    )
    return block.fields[:, 0] - 1, E, nu


@pytest.mark.parametrize("suffix", [".inp", ".cdb"])
@given(deck=decks())
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_back(suffix: str, deck: Deck) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, mapped = Path(folder) / f"deck{suffix}", Path(folder) / f"mapped{suffix}"
        write_deck(deck, path)
        back = read_deck(path)
        (kind,) = back.elements
        assert kind == KINDS[deck.elements.shape[1]]
        np.testing.assert_allclose(back.nodes_mm, deck.nodes_mm, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(back.node_ids, np.arange(deck.n_nodes) + 1)
        np.testing.assert_array_equal(back.elements[kind], deck.elements)
        np.testing.assert_array_equal(back.element_ids[kind], np.arange(deck.n_elements) + 1)
        sets = {name: nodes + 1 for name, nodes in deck.all_node_sets.items()}
        if suffix == ".cdb":
            sets |= {
                deck_name(name): np.unique(deck.face_nodes(name)) + 1 for name in deck.surfaces
            }
        assert {k: v.tolist() for k, v in sets.items()} == {
            k: v.tolist() for k, v in back.node_sets.items() if k != "NALL"
        }
        for name, members in deck.element_sets.items():
            own = back.element_sets[deck_name(name)]
            np.testing.assert_array_equal(own, np.unique(members) + 1)
        material, E, nu = materials_in(path, deck)
        np.testing.assert_array_equal(material, deck.material)
        np.testing.assert_allclose(E, [m.E_MPa for m in deck.materials], rtol=1e-12)
        np.testing.assert_allclose(nu, [m.nu for m in deck.materials], rtol=1e-12)

        # and given the same materials once more, the mesh and the sets stay
        moduli = np.array([m.E_MPa for m in deck.materials])[deck.material]
        bins = with_materials(path, mapped, back.element_ids[kind], moduli, 0.3, 0.0)
        np.testing.assert_array_equal(bins.material, deck.material)
        again = read_deck(mapped)
        np.testing.assert_array_equal(again.nodes_mm, back.nodes_mm)
        np.testing.assert_array_equal(again.elements[kind], back.elements[kind])
        assert set(again.element_sets) >= set(back.element_sets)


@given(name=NAMES)
@settings(max_examples=50, deadline=None)
def test_names_are_those_that_solvers_read(name: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]*", deck_name(name))
    nodes, elements = mesh_of(4, np.ones((1, 1, 1), bool), 0)
    E = np.full(len(elements), 100.0)
    deck, _ = deck_of(nodes, elements, E, 0.3, 0.0, node_sets={name: np.array([0])})
    assert list(deck.all_node_sets) == [deck_name(name)]
