"""The lookup on the lattice finds the same coarse bricks as the sort that knows no lattice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bonekit.fem.bricks import packed_bricks
from bonekit.fem.coarsening import Factors, coarsen, coarsen_cells


def alike(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    """Whether two numberings group the same things."""
    pairs = set(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    return len(pairs) == len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("share", [0.15, 0.45, 0.8, 1.0])
def test_cells_coarsen_as_parts_do(factors: Factors, share: float) -> None:
    rng = np.random.default_rng(int(100 * share) + sum(factors))
    for shape in ((7, 4, 5), (1, 6, 3), (2, 2, 2)):
        active = rng.random(shape) < share
        active[0, 0, 0] = True
        bricks, _ = packed_bricks(active)
        slow, fast = coarsen(bricks, factors), coarsen_cells(bricks, factors)
        assert alike(slow.parent, fast.parent)
        assert np.array_equal(slow.child, fast.child)
        assert np.array_equal(slow.nodes, fast.nodes)
        assert np.array_equal(slow.count, fast.count)
        ours, theirs = (c.coarse.corners[c.parent].ravel() for c in (fast, slow))
        assert alike(ours, theirs)
        assert fast.coarse.n_nodes == slow.coarse.n_nodes
        number = dict(zip(theirs.tolist(), ours.tolist(), strict=True))
        for a, b, n in zip(slow.sources, fast.sources, slow.count, strict=True):
            assert {number[x] for x in a[:n].tolist()} == set(b[:n].tolist())


def test_corners_that_no_finer_node_ties_stay_apart() -> None:
    active = np.zeros((4, 1, 1), dtype=bool)
    active[0] = active[3] = True  # coarse neighbours whose bricks do not touch
    bricks, _ = packed_bricks(active)
    made = coarsen_cells(bricks, (2, 1, 1))
    assert made.coarse.n_nodes == 16
