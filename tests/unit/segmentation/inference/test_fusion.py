import math

import numpy as np
import pytest
import torch

from bonekit.errors import InputError
from bonekit.segmentation.inference.fusion import calibrate, fuse, uncertainty
from bonekit.segmentation.inference.temperature import fit
from bonekit.segmentation.task import Fusion


def voxel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


SURE, TORN = voxel(0.9, 0.1), voxel(0.4, 0.6)


def nats(*p: float) -> float:
    return -sum(q * math.log(q) for q in p)


WEIGHTS = math.exp(-4 * nats(0.9, 0.1)), math.exp(-4 * nats(0.4, 0.6))


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ("mean", (0.9 + 0.4 + 0.4) / 3),
        ("log_pool", 1 / (1 + (0.1 * 0.6 * 0.6 / (0.9 * 0.4 * 0.4)) ** (1 / 3))),
        ("entropy", (0.9 * WEIGHTS[0] + 0.8 * WEIGHTS[1]) / (WEIGHTS[0] + 2 * WEIGHTS[1])),
        ("majority", 0.999 / 3 + 0.001 * (0.9 + 0.4 + 0.4) / 3),
    ],
)
def test_one_sure_view_against_two_that_are_torn(rule: Fusion, first: float) -> None:
    for exclusive in (True, False):
        found = fuse([SURE, TORN, TORN], rule, exclusive=exclusive).ravel().tolist()
        assert found == pytest.approx([first, 1 - first], abs=1e-6)


def test_overlapping_outputs_are_judged_apart() -> None:
    a, b = voxel(0.9, 0.9), voxel(0.2, 0.9)
    found = fuse([a, b], "entropy", exclusive=False).ravel()
    weights = math.exp(-4 * nats(0.9, 0.1)), math.exp(-4 * nats(0.2, 0.8))
    assert float(found[0]) == pytest.approx(
        (0.9 * weights[0] + 0.2 * weights[1]) / sum(weights), rel=1e-5
    )
    assert float(found[1]) == pytest.approx(0.9, rel=1e-5)


def test_a_tie_of_votes_goes_to_the_larger_mean() -> None:
    found = fuse([voxel(0.55, 0.45), voxel(0.1, 0.9)], "majority", exclusive=True)
    assert int(found.argmax()) == 1


def test_certain_probabilities_don_t_break_a_rule() -> None:
    rules: tuple[Fusion, ...] = ("mean", "log_pool", "entropy", "majority")
    for rule in rules:
        for exclusive in (True, False):
            found = fuse([voxel(1.0, 0.0), voxel(0.0, 1.0)], rule, exclusive=exclusive)
            assert found.ravel().tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def test_entropy_runs_from_zero_to_one() -> None:
    assert float(uncertainty(voxel(0.25, 0.25, 0.25, 0.25), exclusive=True)) == pytest.approx(1.0)
    assert float(uncertainty(voxel(0.0, 1.0, 0.0), exclusive=True)) == 0.0
    assert float(uncertainty(voxel(0.5, 1.0), exclusive=False)) == pytest.approx(0.5)


def test_a_temperature_softens_and_changes_no_label() -> None:
    made = calibrate(voxel(0.8, 0.2), 2.0, exclusive=True).ravel()
    assert float(made[0]) == pytest.approx(2.0 / 3.0, rel=1e-5)  # sqrt(4) to 1
    other = calibrate(voxel(0.8, 0.1), 2.0, exclusive=False).ravel()
    assert other.tolist() == pytest.approx([2 / 3, 0.25], rel=1e-5)  # odds 4 -> 2, 1/9 -> 1/3


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_labels_drawn_with_it_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40000, 4))
    chance = np.exp(logits / true)
    chance /= chance.sum(1, keepdims=True)
    labels = (chance.cumsum(1) < rng.random((40000, 1))).sum(1)
    assert fit(logits, labels) == pytest.approx(true, rel=0.03)
    cube = logits.T.reshape(4, 40, 40, 25)
    assert fit(cube, labels.reshape(40, 40, 25)) == pytest.approx(true, rel=0.03)
    own = rng.random(logits.shape) < 1 / (1 + np.exp(-logits / true))
    assert fit(logits, own) == pytest.approx(true, rel=0.03)


def test_a_fit_that_has_no_answer_says_so() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 2.0]] * 10)
    with pytest.raises(InputError, match="no temperature"):
        fit(logits, np.array([0, 1] * 10))
    with pytest.raises(InputError, match="do not go with"):
        fit(logits, np.zeros(7, int))
    with pytest.raises(InputError, match="NaN"):
        fit(np.full((4, 2), np.nan), np.zeros(4, int))
