"""Random changes: image and labels together, everything by the generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bonekit.segmentation.task import Channel, Modality, Task, View
from bonekit.segmentation.training import augment

torch.set_num_threads(1)


def task(
    modality: Modality = "ct",
    views: tuple[View, ...] = ("volume",),
    optional: tuple[bool, ...] = (False,),
) -> Task:
    return Task(
        name="toy",
        description="",
        channels=tuple(
            Channel(name=f"c{i}", modality=modality, normalisation="zscore", optional=o)
            for i, o in enumerate(optional)
        ),
        labels={"background": 0, "bone": 1},
        views=views,
        mirror=(0, 2),
    )


@pytest.mark.parametrize("patch", [(8, 6), (8, 6, 5)])
def test_no_rotation_and_no_scale_is_the_patch_itself(patch: tuple[int, ...]) -> None:
    matrix = np.eye(len(patch))
    room = augment.room_for(matrix, patch)
    torch.manual_seed(0)
    image = torch.randn(2, *room)
    labels = (image[:1] > 0).to(torch.uint8)
    inside = tuple(slice((r - p) // 2, (r - p) // 2 + p) for r, p in zip(room, patch, strict=True))
    warped, moved = augment.warp(image, labels, matrix, patch)
    torch.testing.assert_close(warped, image[(slice(None), *inside)], rtol=0, atol=1e-5)
    assert torch.equal(moved, labels[(slice(None), *inside)])
    assert moved.dtype == torch.uint8


def test_quarter_turn_turns_image_and_labels_alike() -> None:
    matrix = np.array([[0.0, -1.0], [1.0, 0.0]])
    image = torch.arange(64.0).reshape(1, 8, 8)
    labels = (image % 7).to(torch.uint8)
    warped, moved = augment.warp(image, labels, matrix, (8, 8))
    torch.testing.assert_close(warped, image.rot90(-1, (1, 2)), rtol=0, atol=1e-4)
    assert torch.equal(moved, labels.rot90(-1, (1, 2)))


def test_scale_above_one_shows_more_of_the_image() -> None:
    image = torch.linspace(-1, 1, 33).repeat(33, 1)[None]
    warped, _ = augment.warp(image, image.to(torch.uint8), 1.4 * np.eye(2), (17, 17))
    assert float(warped[0, 0, -1]) == pytest.approx(1.4 * 0.5, abs=0.02)
    assert augment.room_for(1.4 * np.eye(2), (17, 17)) >= (25, 25)


def test_rotations_and_scales_are_as_often_and_as_large_as_in_the_table() -> None:
    rng = np.random.default_rng(0)
    matrices = [augment.random_matrix(rng, (8, 8)) for _ in range(2000)]
    changed = [m for m in matrices if m is not None]
    assert len(changed) / 2000 == pytest.approx(1 - 0.8**2, abs=0.03)
    scales = np.sqrt([np.linalg.det(m) for m in changed])
    turns = np.degrees([np.arctan2(m[1, 0], m[0, 0]) for m in changed])
    assert 0.7 <= scales.min() < 0.75
    assert 1.35 < scales.max() <= 1.4
    assert 27 < np.abs(turns).max() <= 30


def test_flat_patch_turns_freely_around_its_thin_axis_only() -> None:
    rng = np.random.default_rng(0)
    found = [m for _ in range(300) if (m := augment.random_matrix(rng, (32, 32, 8))) is not None]
    assert all(np.allclose(m[2, :2], 0) and np.allclose(m[:2, 2], 0) for m in found)
    turns = [abs(np.degrees(np.arctan2(m[1, 0], m[0, 0]))) for m in found]
    assert max(turns) > 120


@pytest.mark.parametrize("modality", ["ct", "mri", "ultrasound"])
@pytest.mark.parametrize("dims", [2, 3])
def test_values_change_by_the_generator_alone(modality: Modality, dims: int) -> None:
    image = torch.randn(2, *(12,) * dims)
    toy = task(modality, optional=(False, False))

    def changed(seed: int) -> torch.Tensor:
        return augment.change_values(np.random.default_rng(seed), image, toy)

    results = [changed(seed) for seed in range(12)]
    assert all(torch.equal(one, changed(seed)) for seed, one in enumerate(results))
    assert sum(not torch.allclose(one, image) for one in results) > 6
    assert all(one.isfinite().all() and one.dtype == torch.float32 for one in results)


def test_magnetic_resonance_gets_a_bias_field() -> None:
    flat = torch.ones(1, 16, 16)
    toy = task("mri")
    fields = [augment.change_values(np.random.default_rng(s), flat, toy) for s in range(60)]
    smooth = [f for f in fields if 1e-4 < float(f.diff(dim=2).abs().max()) < 0.2 and f.min() > 0.5]
    assert smooth


def test_mirrored_axes_are_those_of_the_slice() -> None:
    toy = task()
    assert augment.mirrored_axes(toy, None) == (0, 2)
    assert augment.mirrored_axes(toy, 0) == (1,)  # slice of axes 1 and 2: 2 is its second
    assert augment.mirrored_axes(toy, 1) == (0, 1)
    assert augment.mirrored_axes(toy, 2) == (0,)


def test_mirror_flips_both_half_of_the_time() -> None:
    rng = np.random.default_rng(0)
    image = torch.arange(4.0).reshape(1, 4, 1)
    flips = []
    for _ in range(400):
        a, b = augment.mirror(rng, image, image.to(torch.uint8), (0, 1))
        assert torch.equal(a, b.float())
        flips.append(not torch.equal(a, image))
    assert np.mean(flips) == pytest.approx(0.5, abs=0.08)


def test_optional_channels_are_dropped_but_never_all() -> None:
    rng = np.random.default_rng(0)
    toy = task("mri", optional=(True, True))
    image = torch.ones(2, 4, 4)
    kept = [augment.drop_channels(rng, image, toy, 0.6)[:, 0, 0] for _ in range(200)]
    sums = torch.stack(kept).sum(dim=1)
    assert set(sums.tolist()) == {1.0, 2.0}
    needed = task("mri", optional=(False, True))
    first = [augment.drop_channels(rng, image, needed, 0.6)[0, 0, 0] for _ in range(50)]
    assert min(first) == 1
