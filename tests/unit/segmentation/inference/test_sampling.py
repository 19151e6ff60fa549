import numpy as np
import pytest
import torch

from bonekit.image import Grid
from bonekit.segmentation.inference.sampling import sampler

GRID = Grid.of((20, 24, 16), (1.0, 0.5, 2.0))


def draws(found: torch.Tensor, exclusive: bool, correlation_mm: float, n: int = 600) -> np.ndarray:
    made = sampler(
        GRID, len(found), samples=n, correlation_mm=correlation_mm, seed=0, exclusive=exclusive
    )
    slice_ = found.view(-1, 1, 1).expand(-1, *GRID.shape[:2])
    scores = torch.stack([made.draw(slice_, k) for k in range(0, 16, 5)], dim=-1)
    return scores.argmax(1).numpy() if exclusive else (scores > 0.5).numpy()


def test_each_label_is_drawn_with_its_probability() -> None:
    chance = torch.tensor([0.6, 0.3, 0.1])
    labels = draws(chance, True, 3.0)
    share = [(labels == value).mean() for value in range(3)]
    np.testing.assert_allclose(share, chance, atol=0.01)


def test_each_region_is_drawn_with_its_probability() -> None:
    chance = torch.tensor([0.2, 0.7])
    found = draws(chance, False, 3.0)
    np.testing.assert_allclose(found.mean(axis=(0, 2, 3, 4)), chance, atol=0.01)


def test_errors_hang_together_over_the_correlation_length() -> None:
    """Neighbours 1 mm apart agree often, and more so the longer the correlation."""
    chance = torch.tensor([0.5, 0.5])
    agree = {}
    for length in (0.5, 4.0, 12.0):
        labels = draws(chance, True, length, 60)
        agree[length] = (labels[:, 1:] == labels[:, :-1]).mean()
    assert agree[0.5] < 0.75 < agree[4.0] < agree[12.0]
    far = draws(chance, True, 2.0, 600)
    assert (far[:, 0] == far[:, 19]).mean() == pytest.approx(0.5, abs=0.03)


def test_fields_have_unit_variance_everywhere() -> None:
    made = sampler(GRID, 1, samples=3000, correlation_mm=4.0, seed=1, exclusive=True)
    np.testing.assert_allclose(made.field(7).std(0), 1.0, atol=0.08)


def test_certainty_stays() -> None:
    labels = draws(torch.tensor([1.0, 0.0, 0.0]), True, 3.0, 50)
    assert (labels == 0).mean() > 0.9999
