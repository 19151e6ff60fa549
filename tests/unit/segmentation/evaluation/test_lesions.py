"""The MSSEG-2 rule, panoptic quality and FROC on cases counted by hand."""

import numpy as np
import pytest
import torch
from monai.metrics.froc import compute_froc_curve_data
from monai.metrics.panoptic_quality import compute_panoptic_quality

from bonekit.segmentation.evaluation.lesions import (
    Candidates,
    candidates,
    detection,
    found,
    froc,
    pieces,
    table,
)


def line(*spans: tuple[int, int], length: int = 100) -> np.ndarray:
    """Lesions along a line of voxels: first and last index of each."""
    mask = np.zeros((1, 1, length), bool)
    for first, last in spans:
        mask[0, 0, first : last + 1] = True
    return mask


def scores(reference: np.ndarray, prediction: np.ndarray, least: float = 3.0) -> dict[str, float]:
    return detection(pieces(reference, 1.0, least), pieces(prediction, 1.0, least), 1.0)


def test_small_pieces_are_dropped_by_the_floor() -> None:
    mask = line((0, 2), (10, 13), (20, 24))  # 3, 4 and 5 voxels
    assert pieces(mask, 1.0, 3.0).max() == 2  # 3 mm3 are 3 voxels: a piece needs more
    assert pieces(mask, 0.8, 3.0).max() == 2  # floor(3.75) = 3
    assert pieces(mask, 0.7, 3.0).max() == 1  # floor(4.29) = 4
    assert pieces(mask, 4.0, 3.0).max() == 3
    assert pieces(mask, 1.0, 0.0).max() == 3


def test_pieces_share_faces_not_corners() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[1, 1, 1] = True
    assert pieces(mask, 1.0, 0.0).max() == 2


def test_identity_is_perfect() -> None:
    mask = line((0, 9), (20, 24), (40, 60))
    values = scores(mask, mask)
    assert values["f1"] == values["sensitivity"] == values["ppv"] == values["pq"] == 1.0
    assert values["n_reference"] == values["n_found"] == 3
    assert values["n_false"] == values["false_ml"] == 0


def test_one_giant_blob_over_two_lesions_is_nothing() -> None:
    values = scores(line((10, 14), (80, 84)), line((0, 99)))
    assert values["n_found"] == 0  # 90 % of the blob lies outside
    assert values["f1"] == 0.0
    assert values["n_false"] == 0 + 1


@pytest.mark.parametrize(
    ("overlaps", "expected"),
    [
        # rows: outside, lesion 1; columns: outside, predictions
        ([[50, 5], [90, 10]], False),  # exactly 10 % covered
        ([[50, 5], [89, 11]], True),
        ([[50, 7], [0, 3]], True),  # exactly 70 % of the prediction outside
        ([[50, 8], [0, 3]], False),
        ([[50, 0, 100], [30, 65, 5]], True),  # the first explains 93 %: the second is not asked
        ([[50, 0, 100], [30, 60, 40]], False),  # 60 % explained: the second is asked, and leaks
        ([[50, 0, 100], [30, 65, 35]], True),  # exactly 65 % explained
    ],
)
def test_the_rule_by_hand(overlaps: list[list[int]], expected: bool) -> None:
    assert found(np.array(overlaps)).tolist() == [expected]


def test_a_table_counts_shared_voxels() -> None:
    reference = pieces(line((0, 9), (20, 29)), 1.0, 0.0)
    prediction = pieces(line((5, 24), (40, 44)), 1.0, 0.0)
    assert table(reference, prediction).tolist() == [[65, 10, 5], [5, 5, 0], [5, 5, 0]]


def test_precision_is_the_same_rule_the_other_way_round() -> None:
    values = scores(line((0, 9)), line((0, 9), (50, 54), (60, 67)))
    assert values["sensitivity"] == 1.0
    assert values["ppv"] == pytest.approx(1 / 3)
    assert values["f1"] == pytest.approx(0.5)
    assert values["n_false"] == 2
    assert values["false_ml"] == pytest.approx(0.013)


def test_without_a_reference_lesion_the_false_ones_tell() -> None:
    values = scores(line(), line((0, 9)))
    assert np.isnan(values["f1"])
    assert np.isnan(values["sensitivity"])
    assert values["n_false"] == 1
    assert values["false_ml"] == pytest.approx(0.01)
    assert values["pq"] == 0.0
    assert scores(line(), line())["pq"] == 1.0
    assert scores(line((0, 9)), line())["f1"] == 0.0


def test_panoptic_quality_by_hand_and_as_monai() -> None:
    reference, prediction = line((0, 9), (20, 29), (40, 49)), line((0, 7), (25, 34), (60, 65))
    values = scores(reference, prediction)
    assert values["sq"] == pytest.approx(0.8)  # 8 of 10 in common
    assert values["rq"] == pytest.approx(1 / 3)
    assert values["pq"] == pytest.approx(0.8 / 3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        noise = rng.normal(size=(12, 12, 12))
        numbered = [pieces(noise + 0.3 * rng.normal(size=noise.shape) > 1, 1.0, 0) for _ in "ab"]
        theirs = compute_panoptic_quality(
            torch.from_numpy(numbered[1]), torch.from_numpy(numbered[0])
        )
        assert detection(*numbered, 1.0)["pq"] == pytest.approx(float(theirs), abs=1e-5)


def test_candidates_are_pieces_of_probability() -> None:
    probability = np.zeros((1, 1, 40), np.float32)
    probability[0, 0, 2:8] = [0.2, 0.9, 0.3, 0.3, 0.3, 0.2]
    probability[0, 0, 20:26] = 0.4
    probability[0, 0, 30] = 0.99  # too small
    reference = pieces(line((3, 6), (28, 38), length=40), 1.0, 0.0)
    seen = candidates(probability, reference, 1.0, 3.0, 0.1)
    assert seen.score.tolist() == pytest.approx([0.9, 0.4])
    assert seen.hit.tolist() == [1, 0]
    assert seen.n_reference == 2
    nothing = candidates(np.zeros_like(probability), reference, 1.0, 3.0, 0.1)
    assert nothing.score.size == 0
    assert nothing.n_reference == 2


def test_froc_by_hand() -> None:
    one = Candidates(np.array([0.9, 0.8, 0.6, 0.5]), np.array([1, 0, 1, 2]), 2)
    two = Candidates(np.array([0.7, 0.3]), np.array([0, 1]), 2)
    curve = froc([one, two])
    assert curve is not None
    assert curve.threshold.tolist() == [0.9, 0.8, 0.7, 0.5, 0.3]  # 0.6 hits lesion 1 again
    assert curve.false_per_subject.tolist() == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert curve.sensitivity.tolist() == [0.25, 0.25, 0.25, 0.5, 0.75]
    assert curve.at(0.5) == 0.25
    assert curve.at(1.0) == 0.75
    assert froc([Candidates(np.array([0.5]), np.array([0]), 0)]) is None


def test_a_candidate_hits_the_lesion_it_shares_most_with() -> None:
    probability = np.zeros((1, 1, 60), np.float32)
    probability[0, 0, 0:20] = 0.5
    reference = pieces(line((0, 4), (10, 19), (22, 30), length=60), 1.0, 0.0)
    assert candidates(probability, reference, 1.0, 3.0, 0.1).hit.tolist() == [2]
    giant = np.full_like(probability, 0.5)
    reference = pieces(line((0, 4), length=60), 1.0, 0.0)
    assert candidates(giant, reference, 1.0, 3.0, 0.1).hit.tolist() == [0]  # IoU 5 / 60


def test_the_curve_is_monais() -> None:
    rng = np.random.default_rng(1)
    subjects = [
        Candidates(rng.uniform(size=9), np.array([0, 1, 2, 3, 0, 0, 0, 4, 5]), 7) for _ in range(3)
    ]
    curve = froc(subjects)
    assert curve is not None
    false = np.concatenate([one.score[one.hit == 0] for one in subjects])
    true = np.concatenate([np.append(one.score[one.hit > 0], [0.0, 0.0]) for one in subjects])
    theirs = compute_froc_curve_data(false, true, 21, 3)
    assert curve.false_per_subject[::-1].tolist() == theirs[0][:-1].tolist()
    assert curve.sensitivity[::-1].tolist() == theirs[1][:-1].tolist()
