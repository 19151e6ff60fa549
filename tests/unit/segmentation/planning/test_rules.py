"""Plans against those of nnU-Net itself, see benchmarks/nnunet_plans.py."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonekit.errors import InputError
from bonekit.segmentation.planning.fingerprint import Fingerprint
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.planning.rules import make_plan, target_spacing
from bonekit.segmentation.task import Task
from bonekit.segmentation.task_files import load_task

REFERENCE = json.loads((Path(__file__).parent / "nnunet_plans.json").read_text())
ONE = Statistics(mean=0.0, std=1.0, low=-2.0, high=2.0)
BONE = load_task("bone_ct")
VIEWS = ("sagittal", "coronal", "axial")
# Patches and stages as published in our notes, on x, y, z (8 GB).
TABLE = {
    "femur_ct": ((112, 112, 192), 6),
    "hip_ct": ((160, 112, 128), 6),
    "leg_dixon": ((128, 96, 192), 6),
    "leg_dixon_thick": ((224, 192, 40), 6),
    "flair": ((160, 192, 64), 6),
    "ultrasound": ((224, 224, 48), 6),
}


def made(name: str, task: Task = BONE, memory: Any = 8.0) -> Plan:
    one = REFERENCE["plans"][name]
    cases = REFERENCE["cases"]
    return make_plan(
        Fingerprint(
            spacings_mm=(tuple(one["spacing"]),) * cases,
            shapes=(tuple(one["shape"]),) * cases,
            kept=1.0,
            statistics=(ONE,),
        ),
        task,
        memory,
    )


def sliced(*views: str) -> Task:
    return BONE.model_copy(update={"views": views})


def same(plan: Plan, theirs: dict[str, Any], axes: list[int]) -> None:
    def turned(steps: list[int]) -> tuple[int, ...]:
        return tuple(n for _, n in sorted(zip(axes, steps, strict=True)))

    assert plan.patch == turned(theirs["patch"])
    assert plan.batch == theirs["batch"]
    assert list(plan.features) == theirs["features"]
    assert plan.kernels == tuple(map(turned, theirs["kernels"]))
    assert plan.strides == tuple(map(turned, theirs["strides"]))


@pytest.mark.parametrize("name", TABLE)
def test_six_geometries_of_the_notes(name: str) -> None:
    plan = made(name)
    assert (plan.patch, len(plan.strides)) == TABLE[name]
    thick = plan.kernels[:2] == ((3, 3, 1), (3, 3, 1))
    assert thick == (name == "leg_dixon_thick")


@pytest.mark.parametrize("memory", [8, 24])
@pytest.mark.parametrize("name", REFERENCE["plans"])
def test_plans_in_three_dimensions_are_those_of_nnunet(name: str, memory: int) -> None:
    theirs = REFERENCE["plans"][name][f"{memory}GB"]
    plan = made(name, memory=float(memory))
    axes = theirs["3d_fullres"]["axes"]
    same(plan, theirs["3d_fullres"], axes)
    assert plan.spacing_mm == pytest.approx(REFERENCE["plans"][name]["spacing"])
    assert (plan.low_resolution is not None) == ("3d_lowres" in theirs)
    if plan.low_resolution is not None:
        low = theirs["3d_lowres"]
        same(plan.low_resolution, low, axes)
        spacing = [s for _, s in sorted(zip(axes, low["spacing"], strict=True))]
        assert plan.low_resolution.spacing_mm == pytest.approx(spacing, rel=1e-12)


@pytest.mark.parametrize("memory", [8, 24])
@pytest.mark.parametrize("name", REFERENCE["plans"])
def test_plans_of_slices_are_those_of_nnunet(name: str, memory: int) -> None:
    theirs = REFERENCE["plans"][name][f"{memory}GB"]["2d"]
    view = VIEWS[({0, 1, 2} - set(theirs["axes"])).pop()]
    plan = made(name, sliced(view), float(memory))
    same(plan, theirs, theirs["axes"])
    assert plan.low_resolution is None


def test_three_views_share_a_slice_of_cubes() -> None:
    plan = made("leg_dixon_thick", sliced(*VIEWS))
    assert plan.spacing_mm == (1.0, 1.0, 1.0)
    assert plan.median_shape == (384, 320, 300)
    assert plan.patch == (384, 320)


@pytest.mark.parametrize("views", [("volume",), VIEWS])
def test_processor_gets_a_small_network(views: tuple[str, ...]) -> None:
    plan, gpu = (made("femur_ct", sliced(*views), m) for m in ("cpu", 8.0))
    assert plan.features[0] == (8 if plan.kernels[0] == (3, 3, 3) else 16)
    assert max(plan.features) <= 128
    assert prod(plan.patch) * plan.batch < prod(gpu.patch) * gpu.batch


def test_few_thick_slices_take_the_tenth_percentile() -> None:
    thick = [(1.0, 1.0, z) for z in (4.0, 5.0, 5.0, 6.0, 8.0)]
    fingerprint = Fingerprint(
        spacings_mm=tuple(thick), shapes=((300, 300, 40),) * 5, kept=1.0, statistics=(ONE,)
    )
    assert target_spacing(fingerprint) == pytest.approx((1.0, 1.0, 4.4))
    many = fingerprint.model_copy(update={"shapes": ((100, 100, 40),) * 5})
    assert target_spacing(many) == pytest.approx((1.0, 1.0, 5.0))
    mixed = [(1.0, 1.0, z) for z in (0.5, 0.5, 5.0, 5.0, 5.0)]
    finer = fingerprint.model_copy(update={"spacings_mm": tuple(mixed)})
    assert target_spacing(finer) == pytest.approx((1.0, 1.0, 1.00001))


def test_a_fixed_spacing_stays() -> None:
    plan = made("femur_ct", BONE.model_copy(update={"spacing_mm": (1.5, 1.5, 1.5)}))
    assert plan.spacing_mm == (1.5, 1.5, 1.5)
    assert plan.median_shape == (131, 131, 233)


def test_much_cropped_images_are_scored_inside() -> None:
    fingerprint = Fingerprint(
        spacings_mm=((1, 1, 1),), shapes=((64, 64, 64),), kept=0.7, statistics=(ONE,)
    )
    assert make_plan(fingerprint, BONE).inside_nonzero
    assert not make_plan(fingerprint.model_copy(update={"kept": 0.76}), BONE).inside_nonzero


def test_impossible_budgets_are_refused() -> None:
    with pytest.raises(InputError, match="no network fits into"):
        made("femur_ct", memory=1e-5)
    with pytest.raises(InputError, match="memory -1"):
        made("femur_ct", memory=-1)
    with pytest.raises(InputError, match="has 1 channels, the task leg_muscle_dixon 4"):
        made("femur_ct", load_task("leg_muscle_dixon"))


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(5, 700)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    memory=st.sampled_from([4.0, 8.0, "cpu"]),
    views=st.sampled_from([("volume",), ("axial",), VIEWS]),
)
def test_patch_is_divisible_by_the_strides(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    memory: Any,
    views: tuple[str, ...],
) -> None:
    fingerprint = Fingerprint(spacings_mm=(spacing,), shapes=(shape,), kept=1.0, statistics=(ONE,))
    plan = make_plan(fingerprint, sliced(*views), memory)
    for one in (plan, plan.low_resolution):
        if one is None:
            continue
        products = [prod(s) for s in zip(*one.strides, strict=True)]
        assert all(n % d == 0 for n, d in zip(one.patch, products, strict=True))
        assert len(one.strides) == len(one.kernels) == len(one.features)
        assert len(one.patch) == (3 if views == ("volume",) else 2)
        assert set(one.strides[0]) == {1}
        assert one.batch >= 2
