"""Models that users trained with nnU-Net v2, as models of bonekit.

A results folder (``plans.json``, ``dataset.json``, ``fold_0/checkpoint_final.pth`` ...) becomes a
model folder: weights as safetensors, a task, a plan, a card. Everything that decides a prediction
carries over exactly, but two things: bonekit averages probabilities where nnU-Net averages logits,
and its cubic splines are those of SimpleITK.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import read
from bonekit.segmentation.models.card import Card
from bonekit.segmentation.models.folder import save_model
from bonekit.segmentation.models.nnunet_plans import (
    axes_of,
    plan_of,
    reorients,
    resolved,
    task_of,
)
from bonekit.segmentation.models.nnunet_weights import Checkpoint, read_checkpoint, state_of

CHECKPOINT = "checkpoint_final.pth"


def is_nnunet(folder: str | Path) -> bool:
    """Whether a folder looks like a trained model of nnU-Net v2."""
    return (Path(folder) / "plans.json").is_file() and (Path(folder) / "dataset.json").is_file()


def import_nnunet(
    source: str | Path,
    folder: str | Path,
    *,
    orientation: str | None = None,
    like: str | Path | None = None,
    checkpoint: str = CHECKPOINT,
    synthetic: bool = False,
    licence: str | None = None,
) -> Path:
    """Write a model of nnU-Net v2 as a model folder of bonekit.

    Parameters
    ----------
    source : str or Path
        ``nnUNet_results/DatasetNNN_name/trainer__plans__configuration``. All folds are taken.
    folder : str or Path
        Made if absent.
    orientation : str, optional
        Where the axes of the training files point to, such as ``LPS`` or ``RAS``: nnU-Net takes
        voxels in the order of the file and doesn't note it. bonekit turns images that way.
    like : str or Path, optional
        One of the training images, to read the orientation from.
    checkpoint : str
        File of each fold.
    synthetic : bool
        Whether it was trained on synthetic images only.
    licence : str, optional
        Of the weights; by default what ``dataset.json`` says of the data.

    Returns
    -------
    Path
        The folder, for `models.folder.load_model`.

    Raises
    ------
    InputError
        If files are missing; if the network is another than PlainConvUNet in three dimensions, or
        normalisation, resampling or preprocessing are not nnU-Net's defaults (each is named); if
        the orientation is not known; if a checkpoint holds more than tensors and plain values.
    """
    root = Path(source)
    plans, data = _json(root / "plans.json"), _json(root / "dataset.json")
    states = [read_checkpoint(path) for path in _files(root, checkpoint)]
    first = _alike(states, root)
    configuration = resolved(plans, first.configuration)
    axes = axes_of(plans, _orientation(plans, orientation, like))
    task = task_of(plans, data, configuration, axes, first)
    plan = plan_of(plans, configuration, axes, len(task.channels))
    weights = [state_of(one, task, plan, axes) for one in states]
    card = _card(root, plans, data, first, len(states), synthetic)
    licence = licence or str(data.get("licence") or data.get("license") or "")
    if licence:
        card = card.model_copy(update={"licence": licence})
    return save_model(folder, task, plan, weights, card)


def _files(root: Path, checkpoint: str) -> list[Path]:
    """Checkpoints of all folds; that of all data only where there are no others, as nnU-Net."""
    found = sorted(root.glob(f"fold_[0-9]*/{checkpoint}")) or sorted(
        root.glob(f"fold_all/{checkpoint}")
    )
    if not found:
        held = sorted(p.relative_to(root).as_posix() for p in root.glob("fold_*/*.pth"))
        raise InputError(
            f"{root} holds no fold_*/{checkpoint}; found: {', '.join(held) or 'no checkpoint'}. "
            "Give the folder of one configuration, such as nnUNetTrainer__nnUNetPlans__3d_fullres"
        )
    return found


def _alike(states: Sequence[Checkpoint], root: Path) -> Checkpoint:
    """Return the first of folds that were trained alike."""
    kinds = {(s.configuration, s.trainer, s.mirror) for s in states}
    if len(kinds) > 1:
        raise InputError(f"{root}: folds differ in configuration, trainer or mirroring: {kinds}")
    return states[0]


def _orientation(plans: Mapping[str, Any], given: str | None, like: str | Path | None) -> str:
    """Letters of the axes that the network saw."""
    if reorients(plans):
        return "RAS"  # its reader turns every image
    if given is not None and like is not None:
        raise InputError("give the orientation or a training image, not both")
    if like is not None:
        return orientation_of(like)
    if given is None:
        raise InputError(
            "nnU-Net does not note how the training images lay in their files, and a model sees "
            "them upside down where that is wrong. Give one of them (like=, --like), or where its "
            "axes point to (orientation=, --orientation), for example LPS (usual for DICOM) or RAS"
        )
    return given.upper()


def orientation_of(path: str | Path) -> str:
    """Letters of where the axes of an image file point to, such as ``LPS``."""
    cosines = read(path).grid.direction.ravel().tolist()
    letters = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(cosines)
    return str(letters)


def _card(
    root: Path,
    plans: Mapping[str, Any],
    data: Mapping[str, Any],
    first: Checkpoint,
    folds: int,
    synthetic: bool,
) -> Card:
    limits = ["Imported: bonekit has not evaluated it (bonekit seg evaluate does)."]
    if (root / "postprocessing.pkl").is_file() or list(root.glob("crossval*/postprocessing.pkl")):
        limits.append("nnU-Net's post-processing (postprocessing.pkl) is not carried over.")
    return Card(
        training_data=(
            f"Trained with nnU-Net on {plans.get('dataset_name', 'a data set')}, "
            f"{data.get('numTraining', 'an unknown number of')} training cases; "
            f"{first.trainer}, {first.configuration}, {folds} fold{'s' if folds > 1 else ''}."
        ),
        synthetic=synthetic,
        failure_modes=tuple(limits),
        authors=str(data.get("reference", "")),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} can't be read ({error}). A trained model of nnU-Net v2 is a folder with "
            "plans.json, dataset.json and fold_0, fold_1 ... (models of version 1 are others)"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no entries; is it nnU-Net's?")
    return content
