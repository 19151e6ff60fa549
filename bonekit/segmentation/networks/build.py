"""The network of a task and a plan.

A new network is one more function in `_CORES`: it gets the task and the plan, and returns the
module with the multiples that the sizes of its input must be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, cast

from monai.networks.layers.factories import Conv
from monai.networks.nets.ahnet import AHNet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.mednext import MedNeXt
from monai.networks.nets.segresnet_ds import SegResNetDS
from monai.networks.nets.vnet import VNet
from torch import Tensor, nn
from torch.nn import functional

from bonekit.errors import InputError
from bonekit.segmentation.networks.gelan import Gelan
from bonekit.segmentation.networks.norms import set_norm
from bonekit.segmentation.networks.unext import FACTOR, UNeXt
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

Core = tuple[nn.Module, tuple[int, ...]]
SEGRES_BLOCKS = (1, 2, 2, 4, 4, 4, 4)  # of each stage: Myronenko 2018, the last repeated
VNET_WIDTH, VNET_FACTOR = 16, 16
# Networks that halve all axes alike, whatever the plan says, and the axis across slices that may be
# thick all the same.
ALIKE: Mapping[str, int | None] = {"vnet": None, "mednext": None, "unext": None, "ahnet": 2}


class Network(nn.Module):
    """A network that takes any size in prediction, and the multiples of `factor` in training.

    Parameters
    ----------
    core : Module
    factor : tuple of int
        Sizes of the input must be multiples of these.
    """

    def __init__(self, core: nn.Module, factor: Sequence[int]) -> None:
        super().__init__()
        self.core = core
        self.factor = tuple(int(f) for f in factor)

    def fit(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest size that holds `size` and suits the network."""
        fitted = [-(-n // f) * f for n, f in zip(size, self.factor, strict=True)]
        if all(n == f for n, f in zip(fitted, self.factor, strict=True)):
            fitted[-1] *= 2  # a norm needs more than one voxel at the lowest stage
        return tuple(fitted)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits.

        Parameters
        ----------
        x : Tensor, (B, C, *spatial)

        Returns
        -------
        Tensor, (B, outputs, *spatial), or in training a list of them, full size first.

        Raises
        ------
        InputError
            In training, if sizes don't suit the network.
        """
        size = tuple(x.shape[2:])
        fitted = self.fit(size)
        if self.training:
            if fitted != size:
                raise InputError(
                    f"patches of {size} voxels don't suit the network: sizes must be multiples of "
                    f"{self.factor}, the next is {fitted}"
                )
            out = self.core(x)
            return list(out) if isinstance(out, list | tuple) else [out]
        if fitted == size:
            return cast(Tensor, self.core(x))
        room = [r for n, f in zip(size[::-1], fitted[::-1], strict=True) for r in (0, f - n)]
        out = self.core(functional.pad(x, room, mode="replicate"))
        return cast(Tensor, out[(..., *(slice(n) for n in size))])


class Supervised(DynUNet):
    """DynUNet that hands out its supervision heads at their own sizes.

    MONAI's own `forward` brings all of them to full size, which costs memory and has no use.
    """

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits, in training with those of lower stages after them."""
        out: Tensor = self.output_block(self.skip_layers(x))
        if not (self.training and self.deep_supervision):
            return out
        lower = list(self.heads)
        self.heads[:] = [out.detach()[:0]] * len(lower)  # don't keep their graph until next time
        return [out, *lower]


def _zero_biases(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object, **__: object
) -> None:
    """Complete weights in which no transposed convolution has a bias."""
    biases = [name for name in module.state_dict() if name.endswith("transp_conv.conv.bias")]
    if any(f"{prefix}{name}" in state for name in biases):
        return
    for name in biases:
        weight = state.get(f"{prefix}{name.removesuffix('bias')}weight")
        if weight is not None:
            state[f"{prefix}{name}"] = weight.new_zeros(weight.shape[1])


def _dynunet(task: Task, plan: Plan) -> Core:
    """nnU-Net's network; its lowest supervision head, of weight zero there, is not made.

    Transposed convolutions have a bias, as nnU-Net's have; weights of earlier versions of bonekit,
    which had none, load with a bias of zero and give what they gave.
    """
    stages = len(plan.strides)
    if stages < 3:
        raise InputError(
            f"a DynUNet needs three stages or more, the plan has {stages}: take larger patches or "
            "another network"
        )
    core = Supervised(
        task.dims,
        len(task.channels),
        len(task.outputs),
        plan.kernels,
        plan.strides,
        plan.strides[1:],
        filters=plan.features,
        norm_name=("instance", {"affine": True}),
        deep_supervision=stages > 3,
        deep_supr_num=max(stages - 3, 1),
        trans_bias=True,
    )
    core.register_load_state_dict_pre_hook(_zero_biases)  # type: ignore[no-untyped-call]
    return core, _product(plan)


def _vnet(task: Task, plan: Plan) -> Core:
    """Milletari et al. 2016. It repeats its input to 16 channels, so that their number divides."""
    inputs = len(task.channels)
    fits = next(n for n in (1, 2, 4, 8, 16) if n >= inputs or n == VNET_WIDTH)
    core: nn.Module = VNet(task.dims, fits, len(task.outputs))
    if task.dims == 2:
        _drop_channels(core)
    if fits != inputs:
        core = nn.Sequential(Conv[Conv.CONV, task.dims](inputs, fits, 1), core)
    return core, (VNET_FACTOR,) * task.dims


def _drop_channels(module: nn.Module) -> None:
    """Make dropout of a network of slices drop channels.

    MONAI's V-Net takes `Dropout3d` there (1.6.1 does not pass `dropout_dim` on), which takes the
    samples of (B, C, H, W) for channels and drops whole ones.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout3d):
            setattr(module, name, nn.Dropout2d(child.p))
        else:
            _drop_channels(child)


def _segresnet(task: Task, plan: Plan) -> Core:
    stages = len(plan.strides)
    core: Any = SegResNetDS(  # its methods have no types
        task.dims,
        plan.features[0],
        len(task.channels),
        len(task.outputs),
        norm="instance",
        blocks_down=SEGRES_BLOCKS[:stages],
        dsdepth=max(1, stages - 2),
        resolution=plan.spacing_mm if task.dims == 3 else None,
    )
    return core, tuple(core.shape_factor())


def _mednext(task: Task, plan: Plan) -> Core:
    """MedNeXt-S (Roy et al. 2023) with as many stages as the plan has."""
    downs = len(plan.strides) - 1
    core = MedNeXt(
        task.dims,
        plan.features[0],
        len(task.channels),
        len(task.outputs),
        kernel_size=3,
        deep_supervision=True,
        use_residual_connection=True,
        blocks_down=(2,) * downs,
        blocks_up=(2,) * downs,
    )
    core.out_blocks[0] = nn.Identity()  # the lowest head, of weight zero
    return _Shorter(core), (2**downs,) * task.dims


class _Shorter(nn.Module):
    """Leaves the last of a network's outputs away."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        out = self.core(x)
        return list(out[:-1]) if self.training else cast(Tensor, out)


def _ahnet(task: Task, plan: Plan) -> Core:
    """Liu et al. 2018: slices are along the last axis, as in most scans.

    The pyramid has as many levels as the patch has room for, at most the published four.
    """
    smallest = min(plan.patch)
    levels = max(n for n in range(5) if n == 0 or 2 ** (n + 3) <= smallest)
    core = AHNet(
        spatial_dims=task.dims,
        in_channels=len(task.channels),
        out_channels=len(task.outputs),
        psp_block_num=levels,
    )
    return core, (max(32, 2 ** (levels + 3)),) * task.dims


def _unext(task: Task, plan: Plan) -> Core:
    core = UNeXt(task.dims, len(task.channels), len(task.outputs))
    return core, (FACTOR,) * task.dims


def _gelan(task: Task, plan: Plan, auxiliary: bool) -> Core:
    inputs, outputs = len(task.channels), len(task.outputs)
    core = Gelan(task.dims, inputs, outputs, plan.features, plan.strides, auxiliary=auxiliary)
    return core, _product(plan)


_CORES: Mapping[str, Callable[[Task, Plan], Core]] = {
    "dynunet": _dynunet,
    "vnet": _vnet,
    "segresnet": _segresnet,
    "mednext": _mednext,
    "ahnet": _ahnet,
    "unext": _unext,
}


def _product(plan: Plan) -> tuple[int, ...]:
    return tuple(prod(along) for along in zip(*plan.strides, strict=True))


def _check_thick(task: Task, plan: Plan) -> None:
    """Refuse slices so thick that the plan treats them apart, for networks that can't."""
    if task.network not in ALIKE:
        return
    thick = {a for k in plan.kernels for a in range(len(k)) if k[a] == 1 < max(k)}
    if thick - {ALIKE[task.network]}:
        voxel = " x ".join(f"{s:g}" for s in plan.spacing_mm)
        late = " and ".join("ijk"[a] for a in sorted(thick))
        raise InputError(
            f"the plan has voxels of {voxel} mm, and halves {late} later than the other axes; "
            f"{task.network} halves all alike, and would mix slices before it has looked at them. "
            "Take dynunet, segresnet or gelan (or ahnet for slices along k), or a `spacing_mm` in "
            "the task whose edges differ by less than a factor of two"
        )


def build(task: Task, plan: Plan, *, auxiliary: bool = False) -> Network:
    """Build the network of a task, with random weights.

    Parameters
    ----------
    task : Task
        `network`, `norm`, `views` (slices: one network for all planes), channels, outputs.
    plan : Plan
    auxiliary : bool
        With branches that only training needs (of ``gelan``). `inference_state` leaves them out,
        and a network without them takes those weights.

    Raises
    ------
    InputError
        If the plan is of other dimensions, or its stages or thick slices don't suit the network.
    """
    if len(plan.patch) != task.dims or any(len(s) != task.dims for s in plan.strides):
        raise InputError(
            f"task {task.name} has a network in {task.dims} dimensions and the plan patches of "
            f"{plan.patch}: make the plan for this task"
        )
    _check_thick(task, plan)
    if task.network == "gelan":
        core, factor = _gelan(task, plan, auxiliary)
    else:
        core, factor = _CORES[task.network](task, plan)
    set_norm(core, task.norm, task.dims)
    return Network(core, factor)


def inference_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the weights out that only training needs."""
    return {name: value for name, value in state.items() if ".auxiliary." not in name}


def count_parameters(module: nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
