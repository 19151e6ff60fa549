"""Export of a model as a MONAI bundle, which MONAI, MONAI Label and 3D Slicer run.

A DynUNet with instance or batch norm is written as MONAI's own class, and needs no bonekit where
it runs; the other networks are built by `network`. A bundle predicts by MONAI's rules: the first
fold, the first view, without crop, calibration and post-processing, in memory as MONAI takes it.
The layout is that of MONAI's bundle specification (``configs/metadata.json``,
``configs/inference.json``, ``models/model.pt``).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.models.card import WARNING, render
from bonekit.segmentation.models.folder import Model, read_plan, read_task
from bonekit.segmentation.networks import build
from bonekit.segmentation.planning.plan import Statistics
from bonekit.segmentation.task import SLICED, Channel, Task

Config = dict[str, Any]
CORE = "core."  # bonekit wraps MONAI's network under this name
SPECIFICATION = "0.1.0"
NEEDED = {"nibabel": "5.4.2", "pytorch-ignite": "0.5.5", "fire": "0.7.1"}  # as tried with MONAI
RUN = """
## Run

    pip install monai=={monai} {needed}
    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\
        --dataset_dir IMAGES --output_dir LABELS

in this folder. IMAGES holds `{files}` of each case; LABELS gets its label map on the same grid. A
bundle predicts with the first fold and view, without bonekit's calibration and post-processing.
"""


def export_bundle(model: Model, folder: str | Path) -> Path:
    """Write a model as a MONAI bundle.

    Parameters
    ----------
    model : Model
    folder : str or Path
        New or empty; its name is the name of the bundle.

    Returns
    -------
    Path
        The folder; ``monai.bundle.load(folder.name, bundle_dir=folder.parent, ...)`` reads it.

    Raises
    ------
    InputError
        If the folder holds files.
    """
    target = Path(folder).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"can't write a bundle to {target}: it exists and is not an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write(model, temporary)
        if target.exists():
            target.rmdir()
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def network(folder: str | Path) -> nn.Module:
    """Build the network of a bundle that is not MONAI's own; called by its configuration."""
    configs = Path(folder) / "configs"
    return build(read_task(configs / "task.yaml"), read_plan(configs / "plan.json"))


def is_plain(model: Model) -> bool:
    """Whether the network is a class of MONAI as it stands."""
    return model.task.network == "dynunet" and model.task.norm != "group"


def _write(model: Model, folder: Path) -> None:
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    prefix = CORE if is_plain(model) else ""
    state = {key.removeprefix(prefix): value for key, value in model.weights[0].items()}
    with replacing(folder / "models" / "model.pt") as temporary:
        torch.save(state, temporary)
    files = {
        "configs/metadata.json": json.dumps(metadata(model), indent=1),
        "configs/inference.json": json.dumps(inference(model), indent=1),
        "docs/README.md": render(model.card, model.task) + how_to_run(model),
        "LICENSE": model.card.licence + "\n",
    }
    if not is_plain(model):  # JSON is YAML as well
        files["configs/task.yaml"] = model.task.model_dump_json(exclude_none=True)
        files["configs/plan.json"] = model.plan.model_dump_json(exclude_none=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def how_to_run(model: Model) -> str:
    """Section of the bundle's README: the command and what it needs."""
    channels = range(len(model.task.channels))
    return RUN.format(
        monai=version("monai"),
        needed=" ".join([*NEEDED, *([] if is_plain(model) else [f"bonekit=={__version__}"])]),
        files="`, `".join(f"case_{n:04d}.nii.gz" for n in channels),
    )


def metadata(model: Model) -> Config:
    """Return what MONAI wants to know of a bundle."""
    task, own = model.task, not is_plain(model)
    names = dict(enumerate(task.outputs))
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported"},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__,
        "numpy_version": version("numpy"),
        "required_packages_version": NEEDED | ({"bonekit": __version__} if own else {}),
        "task": task.name,
        "description": f"{task.description} {WARNING}",
        "authors": model.card.authors,
        "copyright": model.card.licence,
        "data_source": model.card.training_data,
        "intended_use": WARNING,
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": task.channels[0].modality.upper(),
                    "num_channels": len(task.channels),
                    "spatial_shape": list(model.plan.patch),
                    "dtype": "float32",
                    "is_patch_data": True,
                    "channel_def": {str(n): c.name for n, c in enumerate(task.channels)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(task.outputs),
                    "spatial_shape": list(model.plan.patch),
                    "dtype": "float32",
                    "is_patch_data": True,
                    "channel_def": {str(n): name for n, name in names.items()},
                }
            },
        },
    }


def inference(model: Model) -> Config:
    """Return the configuration of a prediction: one image per channel, labels on its grid."""
    keys = _keys(model)
    return {
        "imports": ["$import functools", "$import glob", "$import os"],
        "bundle_root": ".",
        "dataset_dir": "/path/to/images",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "datalist": {
            key: f"$sorted(glob.glob(os.path.join(@dataset_dir, '*_{n:04d}.nii.gz')))"
            for n, key in enumerate(keys)
        },
        "cases": "$[dict(zip(@datalist.keys(), c)) for c in zip(*@datalist.values())]",
        "network_def": _network(model),
        "preprocessing": {"_target_": "Compose", "transforms": _before(model)},
        "dataset": {"_target_": "Dataset", "data": "@cases", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": _inferer(model),
        "postprocessing": {"_target_": "Compose", "transforms": _after(model)},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network_def"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "$@network_def.to(@device)",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _keys(model: Model) -> list[str]:
    """Return a name for each channel: ``image`` if there is one."""
    if len(model.task.channels) == 1:
        return ["image"]
    return [f"image_{n}" for n in range(len(model.task.channels))]


def _network(model: Model) -> Config:
    if not is_plain(model):
        target = "bonekit.segmentation.models.bundle.network"
        return {"_target_": target, "folder": "@bundle_root"}
    task, plan = model.task, model.plan
    stages = len(plan.strides)
    return {
        "_target_": "DynUNet",
        "spatial_dims": task.dims,
        "in_channels": len(task.channels),
        "out_channels": len(task.outputs),
        "kernel_size": plan.kernels,
        "strides": plan.strides,
        "upsample_kernel_size": plan.strides[1:],
        "filters": plan.features,
        "norm_name": ["instance", {"affine": True}] if task.norm == "instance" else "batch",
        "deep_supervision": stages > 3,
        "deep_supr_num": max(stages - 3, 1),
        "trans_bias": any(name.endswith("transp_conv.conv.bias") for name in model.weights[0]),
    }


def _before(model: Model) -> list[Config]:
    keys = _keys(model)
    steps: list[Config] = [
        {"_target_": "LoadImaged", "keys": keys},
        {"_target_": "EnsureChannelFirstd", "keys": keys},
        {"_target_": "EnsureTyped", "keys": keys, "dtype": "$torch.float32"},
        # named is where axes point to; the network's run to the left, back and head if it is ours
        {
            "_target_": "Orientationd",
            "keys": keys,
            "axcodes": model.plan.orientation,
            "labels": None,
        },
    ]
    for key, channel, known in zip(keys, model.task.channels, model.plan.statistics, strict=True):
        steps += _scaling(key, channel, known, model.plan.inside_nonzero)
    steps.append(
        {
            "_target_": "Spacingd",
            "keys": keys,
            "pixdim": list(model.plan.spacing_mm),
            "mode": 3,
            "padding_mode": "nearest",
        }
    )
    if len(keys) > 1:
        steps.append({"_target_": "ConcatItemsd", "keys": keys, "name": "image"})
    return steps


def _scaling(key: str, channel: Channel, known: Statistics, inside: bool) -> list[Config]:
    if channel.normalisation == "none":
        return []
    if channel.normalisation == "zscore":
        return [{"_target_": "NormalizeIntensityd", "keys": key, "nonzero": inside}]
    if channel.normalisation == "rescale" and channel.values is not None:
        low, high = channel.values
        made = (0.0, 1.0)
    else:
        low, high = known.low, known.high
        made = ((low - known.mean) / known.std, (high - known.mean) / known.std)
    return [
        {
            "_target_": "ScaleIntensityRanged",
            "keys": key,
            "a_min": low,
            "a_max": high,
            "b_min": made[0],
            "b_max": made[1],
            "clip": True,
        }
    ]


def _inferer(model: Model) -> Config:
    common = {"roi_size": list(model.plan.patch), "sw_batch_size": 2, "overlap": 0.5}
    common["mode"] = "gaussian"
    axis = SLICED.get(model.task.views[0])
    if axis is None:
        return {"_target_": "SlidingWindowInferer", **common}
    return {"_target_": "SliceInferer", "spatial_dim": axis, **common}


def _after(model: Model) -> list[Config]:
    regions = not model.task.exclusive
    act = {"sigmoid": True} if regions else {"softmax": True}
    decide: Config = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
    if regions:
        decide = {"_target_": "Lambdad", "keys": "pred", "func": _overlaid(model.task)}
    return [
        {"_target_": "Activationsd", "keys": "pred", **act},
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": _keys(model)[0],
            "nearest_interp": False,
            "to_tensor": True,
        },
        decide,
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "labels",
            "output_dtype": "$np.uint8",
            "separate_folder": False,
            "resample": False,
        },
    ]


def _overlaid(task: Task) -> str:
    """Labels of overlapping regions, as an expression of MONAI: the last one is on top."""
    values = [(n, task.labels[label]) for n, label in enumerate(task.region_order or ())]
    return (
        "$lambda p: functools.reduce(lambda made, one: "
        "torch.where(p[one[0] : one[0] + 1] > 0.5, float(one[1]), made), "
        f"{values}, torch.zeros_like(p[:1]))"
    )
