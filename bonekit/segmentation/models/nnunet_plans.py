"""Task and plan of a model of nnU-Net, from its ``plans.json`` and ``dataset.json``.

Sources: nnU-Net 2.8.1, its plans handler (also of plans from before 2.5), its preprocessors and
label manager. What bonekit can't do the same way is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from bonekit.errors import InputError
from bonekit.segmentation.data.nnunet import plain_name
from bonekit.segmentation.models.nnunet_weights import Checkpoint
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Task

T = TypeVar("T")
LETTERS = ("LR", "PA", "SI")  # of each canonical axis, the canonical direction first
READERS = {"SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"}
NORMALISATIONS = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
}
RESAMPLING = "resample_data_or_seg_to_shape"
ORDERS = {"data": 3, "probabilities": 1}
NONE = (None, "", "None")


@dataclass(frozen=True)
class Axes:
    """Where the axes of nnU-Net's arrays are in the canonical image.

    Parameters
    ----------
    order : tuple of int, (3,)
        Canonical axis of each axis of the network.
    orientation : str
        Where the network's axes point to, in the order of the canonical axes.
    """

    order: tuple[int, int, int]
    orientation: str

    def canonical(self, values: Sequence[T]) -> tuple[T, ...]:
        """Put one value for each axis of the network into the order of the canonical axes."""
        return tuple(values[self.order.index(axis)] for axis in range(3))


def axes_of(plans: Mapping[str, Any], letters: str) -> Axes:
    """Find the network's axes: those of the file from the last to the first, then transposed.

    Parameters
    ----------
    plans : mapping
    letters : str
        Where the axes of a training file point to, such as ``RAS``.

    Raises
    ------
    InputError
        If the letters don't name each of the three axes once.
    """
    places = [next((n for n, pair in enumerate(LETTERS) if one in pair), -1) for one in letters]
    if sorted(places) != [0, 1, 2]:
        raise InputError(
            f"orientation {letters!r}; allowed: one of L and R, one of P and A, one of S and I in "
            "the order of the file's axes, such as LPS, RAS or ASL"
        )
    forward = [int(n) for n in plans.get("transpose_forward", (0, 1, 2))]
    order = [places[2 - n] for n in forward]
    canonical = "".join(letters[places.index(axis)] for axis in range(3))
    return Axes((order[0], order[1], order[2]), canonical)


def reorients(plans: Mapping[str, Any]) -> bool:
    """Whether nnU-Net's reader turned every image to RAS; `InputError` for an unknown reader."""
    reader = str(plans.get("image_reader_writer", "SimpleITKIO"))
    if reader not in READERS:
        raise InputError(f"image reader {reader}; supported are {', '.join(sorted(READERS))}")
    return reader == "NibabelIOWithReorient"


def resolved(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Entries of a configuration with those it inherits, its network described as since 2.5.

    Raises
    ------
    InputError
        If it is of two dimensions, the second of a cascade, or of other preprocessing.
    """
    known = plans.get("configurations", {})
    if name not in known:
        raise InputError(f"plans.json has no configuration {name!r}; it has {', '.join(known)}")
    found = dict(known[name])
    while parent := found.pop("inherits_from", None):
        found = {**known[parent], **found}
    if len(found["patch_size"]) != 3:
        raise InputError(
            f"configuration {name} is of two dimensions; import 3d_fullres or 3d_lowres"
        )
    if found.get("previous_stage") not in NONE:
        raise InputError(
            f"configuration {name} is the second of a cascade and takes the labels of "
            f"{found['previous_stage']}; import 3d_fullres or 3d_lowres"
        )
    _check_preprocessing(found)
    return {**found, "architecture": _architecture(found)}


def _check_preprocessing(found: Mapping[str, Any]) -> None:
    kind = found.get("preprocessor_name", "DefaultPreprocessor")
    if kind != "DefaultPreprocessor":
        raise InputError(f"preprocessor {kind}; supported is DefaultPreprocessor")
    for what, order in ORDERS.items():
        function = found.get(f"resampling_fn_{what}", RESAMPLING)
        options = found.get(f"resampling_fn_{what}_kwargs", {})
        usual = options.get("order", order) == order and options.get("order_z", 0) == 0
        if function != RESAMPLING or not usual or options.get("force_separate_z") not in NONE:
            raise InputError(
                f"resampling of {what} by {function} with {options}; supported is {RESAMPLING} "
                f"with order {order}, order_z 0 and force_separate_z null"
            )


def _architecture(found: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the network; `InputError` if it is none that DynUNet can stand for."""
    if "architecture" in found:
        name = str(found["architecture"]["network_class_name"]).rsplit(".", 1)[-1]
        network = dict(found["architecture"]["arch_kwargs"])
    else:  # plans from before 2.5
        name, network = str(found["UNet_class_name"]), _earlier(found)
    if name != "PlainConvUNet":
        raise InputError(
            f"network {name}; supported is PlainConvUNet (nnU-Net's default plans). Predict with "
            "nnU-Net itself and read its labels"
        )
    expected = {
        "norm_op": ("InstanceNorm3d",),
        "nonlin": ("LeakyReLU",),
        "dropout_op": NONE,
        "nonlin_first": (None, False),
    }
    for key, allowed in expected.items():
        value = network.get(key)
        if (value.rsplit(".", 1)[-1] if isinstance(value, str) else value) not in allowed:
            raise InputError(f"{name} with {key} {value}; supported: {allowed[0]}")
    for key in ("n_conv_per_stage", "n_conv_per_stage_decoder"):
        counts = network[key] if isinstance(network[key], list) else [network[key]]
        if set(counts) != {2}:
            raise InputError(f"{name} with {key} {counts}; supported: 2 in each stage")
    return network


def _earlier(found: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the network as plans from before nnU-Net 2.5 tell them."""
    stages = range(len(found["conv_kernel_sizes"]))
    base, most = found["UNet_base_num_features"], found["unet_max_num_features"]
    return {
        "features_per_stage": [min(base * 2**n, most) for n in stages],
        "kernel_sizes": found["conv_kernel_sizes"],
        "strides": found["pool_op_kernel_sizes"],
        "n_conv_per_stage": found["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": found["n_conv_per_stage_decoder"],
        "norm_op": "InstanceNorm3d",
        "nonlin": "LeakyReLU",
    }


def task_of(
    plans: Mapping[str, Any],
    data: Mapping[str, Any],
    configuration: Mapping[str, Any],
    axes: Axes,
    checkpoint: Checkpoint,
) -> Task:
    """Describe channels and labels as a task.

    Raises
    ------
    InputError
        If a channel is normalised in a way of nnU-Net that bonekit lacks, or labels have gaps.
    """
    listed = data.get("channel_names", data.get("modality", {}))
    names = [str(listed[key]) for key in sorted(listed, key=int)]
    schemes = configuration["normalization_schemes"]
    if unknown := sorted(set(schemes) - set(NORMALISATIONS)):
        raise InputError(
            f"normalisation {', '.join(unknown)}; supported: {', '.join(NORMALISATIONS)}"
        )
    dataset = str(plans.get("dataset_name", "nnunet"))
    content = {
        "name": f"nnunet_{plain_name(dataset)}",
        "description": f"Imported from nnU-Net: {dataset}, {checkpoint.configuration}.",
        "channels": [_channel(n, s) for n, s in zip(names, schemes, strict=True)],
        "mirror": sorted(axes.order[n] for n in checkpoint.mirror),
        **_labels(data),
    }
    try:
        return Task.model_validate(content)
    except ValidationError as error:
        raise InputError(f"dataset.json makes no task: {error}") from error


def _channel(name: str, scheme: str) -> Channel:
    plain = plain_name(name)
    plain = plain if plain[:1].isalpha() else f"channel_{plain}"
    kind = NORMALISATIONS[scheme]
    modality = "ct" if plain == "ct" else "map" if kind == "ct" else "mri"
    return Channel.model_validate({"name": plain, "modality": modality, "normalisation": kind})


def _labels(data: Mapping[str, Any]) -> dict[str, Any]:
    """Labels, and the regions they make where outputs overlap."""
    listed = {plain_name(name): value for name, value in data["labels"].items()}
    listed.pop("ignore", None)  # no output of the network
    if not any(isinstance(value, list | tuple) for value in listed.values()):
        return {"labels": {name: int(value) for name, value in listed.items()}}
    named = [name for name, value in listed.items() if _members(value) != [0]]
    order = [int(n) for n in data["regions_class_order"]]
    labels = {"background": 0, **dict(zip(named, order, strict=True))}
    by_number = {number: name for name, number in labels.items()}
    unwritten = {n for name in named for n in _members(listed[name])} - set(by_number)
    if unwritten:
        raise InputError(f"labels {sorted(unwritten)} are in no region's place in the class order")
    regions = {name: [by_number[n] for n in _members(listed[name])] for name in named}
    return {"labels": labels, "regions": regions, "region_order": named}


def _members(value: Any) -> list[int]:
    return [int(n) for n in (value if isinstance(value, list | tuple) else [value])]


def plan_of(
    plans: Mapping[str, Any], configuration: Mapping[str, Any], axes: Axes, channels: int
) -> Plan:
    """Describe spacing, patch and network as a plan, on canonical axes.

    Raises
    ------
    InputError
        If z-scores are taken inside the nonzero voxels for some channels only.
    """
    network = configuration["architecture"]
    known = plans.get("foreground_intensity_properties_per_channel", {})
    features = network["features_per_stage"]
    content = {
        "spacing_mm": axes.canonical(configuration["spacing"]),
        "median_shape": [round(n) for n in axes.canonical(_median(configuration))],
        "patch": axes.canonical(configuration["patch_size"]),
        "batch": configuration["batch_size"],
        "features": features,
        "kernels": [axes.canonical(_three(k)) for k in network["kernel_sizes"]],
        "strides": [axes.canonical(_three(s)) for s in network["strides"]],
        "statistics": [_statistics(known.get(str(n), {})) for n in range(channels)],
        "inside_nonzero": _inside(configuration),
        "orientation": axes.orientation,
        "average": "logits",
    }
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise InputError(f"plans.json makes no plan: {error}") from error


def _median(configuration: Mapping[str, Any]) -> Sequence[float]:
    found: Sequence[float] = configuration.get(
        "median_image_size_in_voxels", configuration["patch_size"]
    )
    return found


def _three(steps: int | Sequence[int]) -> Sequence[int]:
    return (steps,) * 3 if isinstance(steps, int) else steps


def _inside(configuration: Mapping[str, Any]) -> bool:
    """Whether z-scores are taken where the image is not zero; only they look at that."""
    used = {
        bool(use)
        for use, scheme in zip(
            configuration["use_mask_for_norm"], configuration["normalization_schemes"], strict=True
        )
        if scheme == "ZScoreNormalization"
    }
    if len(used) > 1:
        raise InputError("use_mask_for_norm differs between channels; supported: all alike")
    return used == {True}


def _statistics(known: Mapping[str, float]) -> Statistics:
    return Statistics(
        mean=known.get("mean", 0.0),
        std=known.get("std", 1.0),
        low=known.get("percentile_00_5", 0.0),
        high=known.get("percentile_99_5", 1.0),
    )
