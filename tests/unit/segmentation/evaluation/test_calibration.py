"""Calibration on numbers drawn to be right or wrong."""

import numpy as np
import pytest

from bonekit.segmentation.evaluation.calibration import band, error_auroc, pooled, reliability


def test_true_probabilities_are_calibrated_and_boasts_are_not() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=200_000)
    true = rng.uniform(size=p.size) < p
    assert reliability(p, true).ece < 0.006  # sampling alone: about 0.003
    assert reliability(p**0.5, true).ece == pytest.approx(2 / 3 - 1 / 2, abs=0.01)


def test_two_bins_by_hand() -> None:
    p = np.array([0.22, 0.28, 0.81, 0.83, 0.84])
    true = np.array([False, True, True, True, False])
    found = reliability(p, true)
    assert found.count[2] == 2
    assert found.count[8] == 3
    assert found.ece == pytest.approx((abs(0.5 - 1) + abs(2.48 - 2)) / 5, abs=1e-6)


def test_pooling_is_counting_together() -> None:
    rng = np.random.default_rng(1)
    p, true = rng.uniform(size=1000), rng.uniform(size=1000) < 0.3
    parts = pooled([reliability(p[:400], true[:400]), reliability(p[400:], true[400:])])
    assert parts.ece == pytest.approx(reliability(p, true).ece, abs=1e-6)
    assert np.isnan(pooled([]).ece)


def test_the_band_is_two_voxels_on_either_side() -> None:
    mask = np.zeros((1, 1, 30), bool)
    mask[..., 10:20] = True
    found = np.zeros_like(mask)
    wide = np.zeros((15, 15, 30), bool)
    wide[:, :, 10:20] = True
    found = band(wide)[7, 7]
    assert np.flatnonzero(found).tolist() == [8, 9, 10, 11, 18, 19, 20, 21]
    assert not band(np.zeros((4, 4, 4), bool)).any()


def test_entropy_that_knows_the_errors() -> None:
    wrong = np.array([True, True, False, False])
    assert error_auroc(np.array([9, 8, 2, 1]), wrong) == 1.0
    assert error_auroc(np.array([1, 2, 8, 9]), wrong) == 0.0
    assert error_auroc(np.array([5, 5, 5, 5]), wrong) == 0.5
    assert np.isnan(error_auroc(np.array([5, 5]), np.array([True, True])))
