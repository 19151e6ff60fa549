import numpy as np
import pytest
import torch

from bonekit.fem import operator
from bonekit.fem.block_rows import Transfer, dense
from bonekit.fem.brick import stiffness
from bonekit.fem.bricks import Bricks, packed_bricks
from bonekit.fem.coarsening import coarsen_cells
from bonekit.fem.field_transfer import FieldTransfer
from bonekit.fem.galerkin import ParentStiffness, StoredStiffness
from bonekit.fem.operator import BrickProduct
from bonekit.fem.parents import ParentProduct
from bonekit.fem.threads import both, shares, torch_threads

CPU = torch.device("cpu")
SPACING = np.array([1.0, 0.7, 1.3])
UNITS = np.stack([stiffness(SPACING, nu) for nu in (0.2, 0.4)])


@pytest.fixture
def bricks() -> Bricks:
    return packed_bricks(np.random.default_rng(0).random((7, 6, 9)) < 0.6)[0]


def matrix(bricks: Bricks, weights: np.ndarray) -> torch.Tensor:
    whole = torch.as_tensor(np.einsum("pn,pij->nij", weights, UNITS[: len(weights)]))
    return dense(bricks, lambda start, stop: whole[start:stop], CPU)


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_product_is_that_of_the_assembled_matrix(
    bricks: Bricks, units: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "_CHUNK", {"cpu": 40})  # pieces that share many nodes
    weights = np.random.default_rng(1).uniform(1, 10, (units, len(bricks)))
    product = BrickProduct(bricks, weights, UNITS[:units], torch.float64, CPU)
    u = torch.randn(3, bricks.n_nodes, dtype=torch.float64)
    A, flat = matrix(bricks, weights), u.t().reshape(-1)
    with torch_threads(threads):
        for _ in range(5):
            torch.testing.assert_close(product(u).t().reshape(-1), A @ flat, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(product.diagonal().t().reshape(-1), A.diagonal())
    assert product.energy(u) == pytest.approx(0.5 * float(flat @ A @ flat), rel=1e-12)


def test_a_product_of_parents_is_the_projected_one(bricks: Bricks) -> None:
    rng = np.random.default_rng(2)
    weights = rng.uniform(1, 10, (2, len(bricks)))
    free = torch.as_tensor(rng.random((3, bricks.n_nodes)) < 0.9)
    spring = torch.as_tensor(rng.random((3, bricks.n_nodes)) * (rng.random(bricks.n_nodes) < 0.1))
    step = coarsen_cells(bricks, (2, 2, 2))
    each = ParentStiffness(bricks, step, weights, UNITS, free, spring)
    coarse = ParentProduct(step.coarse, each, torch.float64)

    u = torch.randn(3, step.coarse.n_nodes, dtype=torch.float64)
    up = FieldTransfer(step, bricks.n_nodes, CPU)
    fine = BrickProduct(bricks, weights, UNITS, torch.float64, CPU, spring)
    expected = up.restrict(fine(up.prolong(u) * free) * free)
    torch.testing.assert_close(coarse(u), expected, rtol=1e-11, atol=1e-9)
    own = dense(step.coarse, each, CPU).diagonal().view(-1, 3).t()
    torch.testing.assert_close(coarse.diagonal(), own)


def test_fields_are_interpolated_as_rows_are(bricks: Bricks) -> None:
    step = coarsen_cells(bricks, (2, 1, 2))
    fields = FieldTransfer(step, bricks.n_nodes, CPU)
    rows = Transfer(step, bricks.n_nodes, torch.float64, CPU)
    e = torch.randn(3, step.coarse.n_nodes, dtype=torch.float64)
    r = torch.randn(3, bricks.n_nodes, dtype=torch.float64)
    torch.testing.assert_close(fields.prolong(e), rows.prolong(e.t().contiguous()).t())
    torch.testing.assert_close(fields.restrict(r), rows.restrict(r.t().contiguous()).t())


def test_stored_triangles_give_the_whole_matrix() -> None:
    K = torch.randn(5, 24, 24, dtype=torch.float64)
    K += K.mT.clone()
    row, column = np.tril_indices(24)
    torch.testing.assert_close(StoredStiffness(K[:, row, column])(1, 4), K[1:4])


def test_jobs_beside_others_do_not_wait_for_their_thread() -> None:
    def job() -> list[tuple[int, int]]:
        return both(lambda: shares(10), lambda: shares(4))[0]

    with torch_threads(2):
        assert both(job, job) == ([(0, 5), (5, 10)],) * 2
