"""Shapes, sizes that don't fit, gradients, and what is and is not in the weights."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import nn

from bonekit.errors import InputError
from bonekit.segmentation.networks import build, count_parameters, inference_state
from bonekit.segmentation.networks.gelan import Coupling, fold
from bonekit.segmentation.networks.unext import UNeXt, shift
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Task

torch.set_num_threads(1)
NETWORKS = ("dynunet", "vnet", "segresnet", "mednext", "unext", "gelan")
STATISTICS = (Statistics(mean=0.0, std=1.0, low=-1.0, high=1.0),)


def task(network: str, dims: int, norm: str = "instance", channels: int = 1) -> Task:
    named = tuple(
        Channel(name=f"c{i}", modality="mri", normalisation="zscore") for i in range(channels)
    )
    return Task(
        name="toy",
        description="",
        channels=named,
        labels={"background": 0, "bone": 1, "lesion": 2},
        network=network,  # type: ignore[arg-type]
        norm=norm,  # type: ignore[arg-type]
        views=("volume",) if dims == 3 else ("axial", "sagittal"),
    )


def plan(dims: int, stages: int = 4, size: int = 16) -> Plan:
    return Plan(
        spacing_mm=(1.0, 1.0, 1.0),
        median_shape=(size, size, size),
        patch=(size,) * dims,
        batch=2,
        features=(4, 8, 12, 16)[:stages],
        kernels=((3,) * dims,) * stages,
        strides=((1,) * dims,) + ((2,) * dims,) * (stages - 1),
        statistics=STATISTICS,
    )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_tensor_in_prediction_a_list_in_training_gradients_everywhere(
    name: str, dims: int
) -> None:
    torch.manual_seed(0)
    network = build(task(name, dims), plan(dims), auxiliary=True)
    size = network.fit((16,) * dims)
    x = torch.randn(2, 1, *size)
    logits = network.train()(x)
    assert isinstance(logits, list)
    assert logits[0].shape == (2, 3, *size)
    assert all(a.shape[-1] >= b.shape[-1] for a, b in pairwise(logits))
    sum(one.square().sum() for one in logits).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert not without
    # a bias or scale before a norm may get little, a weight of a convolution may not get nothing
    dead = [n for n, p in network.named_parameters() if p.ndim > 1 and not p.grad.abs().sum() > 0]
    assert not dead
    with torch.no_grad():
        assert network.eval()(x).shape == (2, 3, *size)


def test_deep_supervision_has_all_stages_but_the_two_lowest() -> None:
    sizes = [
        tuple(x.shape[2:]) for x in build(task("dynunet", 2), plan(2))(torch.randn(1, 1, 16, 16))
    ]
    assert sizes == [(16, 16), (8, 8)]


def test_weights_without_biases_of_an_earlier_version_give_what_they_gave() -> None:
    torch.manual_seed(0)
    network = build(task("dynunet", 2), plan(2)).eval()
    earlier = {k: v for k, v in network.state_dict().items() if "transp_conv.conv.bias" not in k}
    assert len(earlier) == len(network.state_dict()) - 6  # three stages, each under two names
    for name, value in network.named_parameters():
        if name not in earlier:
            nn.init.zeros_(value)
    other = build(task("dynunet", 2), plan(2)).eval()
    other.load_state_dict(earlier)
    x = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(other(x), network(x))
    one = next(name for name in network.state_dict() if "transp_conv.conv.bias" in name)
    with pytest.raises(RuntimeError, match="Missing key"):  # some and not all: no such version
        other.load_state_dict({**earlier, one: network.state_dict()[one]})


def test_strides_of_the_plan_are_those_of_the_network() -> None:
    flat = plan(3).model_copy(
        update={"strides": ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)), "patch": (16, 16, 4)}
    )
    network = build(task("dynunet", 3), flat)
    assert network.factor == (8, 8, 2)
    assert [tuple(x.shape[2:]) for x in network(torch.randn(1, 1, 16, 16, 4))] == [
        (16, 16, 4),
        (8, 8, 4),
    ]


@pytest.mark.parametrize("name", ["vnet", "mednext", "unext", "ahnet"])
def test_networks_that_halve_all_axes_alike_refuse_thick_slices(name: str) -> None:
    def thick(axis: int) -> Plan:
        first = tuple(1 if a == axis else 3 for a in range(3))
        change = {"kernels": (first, *plan(3).kernels[1:]), "spacing_mm": (1.0, 1.0, 5.0)}
        return plan(3).model_copy(update=change)

    with pytest.raises(InputError, match=rf"1 x 1 x 5 mm, and halves i later.*{name}.*dynunet"):
        build(task(name, 3), thick(0))
    if name == "ahnet":  # made for slices along the last axis
        build(task(name, 3), thick(2))
    else:
        with pytest.raises(InputError, match="halves k later"):
            build(task(name, 3), thick(2))
    build(task("dynunet", 3), thick(0))


def test_odd_sizes_are_padded_in_prediction_and_refused_in_training() -> None:
    network = build(task("dynunet", 2, norm="batch"), plan(2))
    x = torch.randn(1, 1, 19, 24)
    with pytest.raises(InputError, match=r"19, 24.*multiples of \(8, 8\).*\(24, 24\)"):
        network.train()(x)
    network.eval()
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 0, 0, 5), mode="replicate")
        assert torch.equal(network(x), network(padded)[:, :, :19])


def test_ahnet_takes_patches_of_32() -> None:
    network = build(task("ahnet", 3), plan(3, size=16))
    assert network.fit((16, 16, 16)) == (32, 32, 64)
    with torch.no_grad():
        assert network.eval()(torch.randn(1, 1, 20, 20, 20)).shape == (1, 3, 20, 20, 20)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("instance", nn.InstanceNorm2d), ("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_norm_is_the_task_s(name: str, norm: str, kind: type[nn.Module]) -> None:
    kinds = (nn.InstanceNorm2d, nn.BatchNorm2d, nn.GroupNorm)
    network = build(task(name, 2, norm), plan(2))
    found = Counter(type(m) for m in network.modules() if isinstance(m, kinds))
    assert set(found) == {kind}


def test_vnet_takes_three_channels() -> None:
    network = build(task("vnet", 2, channels=3), plan(2)).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_vnet_of_slices_drops_channels_and_not_samples() -> None:
    drops = [m for m in build(task("vnet", 2), plan(2)).modules() if "Dropout" in type(m).__name__]
    assert drops
    assert all(type(m) is nn.Dropout2d for m in drops)


def test_plan_of_other_dimensions_and_too_few_stages_are_refused() -> None:
    with pytest.raises(InputError, match="2 dimensions"):
        build(task("dynunet", 2), plan(3))
    with pytest.raises(InputError, match="three stages"):
        build(task("dynunet", 2), plan(2, stages=2))


def test_unext_is_as_small_as_published() -> None:
    # 1.47 million parameters: Valanarasu & Patel 2022, table 1 (three channels in, one class)
    assert count_parameters(UNeXt(2, 3, 1)) == pytest.approx(1.47e6, rel=0.005)


def test_shift_moves_fifths_of_the_channels_and_brings_zeros() -> None:
    x = torch.arange(1.0, 6.0).expand(1, 5, 3, 5).clone()  # along the last axis: 1 2 3 4 5
    got = shift(x, 1)[0, :, 0]
    expected = [[3, 4, 5, 0, 0], [2, 3, 4, 5, 0], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 0, 1, 2, 3]]
    assert torch.equal(got, torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(shift(x.transpose(2, 3), 0)[0, :, :, 0], got)


def test_unext_in_3d_sees_along_every_axis() -> None:
    torch.manual_seed(0)
    network = UNeXt(3, 1, 1, widths=(4, 4, 8, 10, 10)).eval()
    x = torch.zeros(1, 1, 32, 32, 32, requires_grad=True)
    network(x)[0, 0, 16, 16, 16].backward()
    reached = x.grad[0, 0].abs() > 0
    for axis in range(3):
        lines = reached.movedim(axis, 0).flatten(1).any(dim=1)
        assert lines[0] or lines[-1] or lines.sum() > 24


def test_auxiliary_branch_is_not_in_the_weights_of_inference() -> None:
    toy, small = task("gelan", 2), plan(2)
    trained = build(toy, small, auxiliary=True)
    state = inference_state(trained.state_dict())
    plain = build(toy, small)
    plain.load_state_dict(state, strict=True)
    assert count_parameters(plain) < count_parameters(trained)
    x = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(plain.eval()(x), trained.eval()(x))


def test_auxiliary_branch_sends_gradients_to_the_main_encoder() -> None:
    network = build(task("gelan", 2), plan(2), auxiliary=True)
    network(torch.randn(2, 1, 16, 16))[1].sum().backward()
    assert network.core.down[0][0][0].weight.grad.abs().sum() > 0
    assert network.core.head.weight.grad is None


def test_coupling_and_folding_lose_nothing() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 8, dtype=torch.float64)
    unit = Coupling(2, 4, "instance").double()
    torch.testing.assert_close(unit.inverse(unit(x)), x, rtol=0, atol=1e-12)
    folded = fold(x, (2, 4))
    assert folded.shape == (2, 32, 3, 2)
    assert torch.equal(folded[0, :8, 1, 1], x[0, 0, 2:4, 4:8].flatten())


def test_count_parameters_counts_those_that_learn() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6
