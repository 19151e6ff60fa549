"""Commands about models and labels made elsewhere: seg card, export, import, import-labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output
from bonekit.cli.seg import Flag, seg


@seg.command
def card(model: Path, /) -> None:
    """Print the card of a model: data, results, limits, licence.

    Parameters
    ----------
    model
        Folder of a model.
    """
    from bonekit.segmentation.models.card import render
    from bonekit.segmentation.models.folder import load_model

    found = load_model(model)
    print(render(found.card, found.task))


@seg.command
def export(model: Path, /, *, out: Output) -> None:
    """Write a model as a MONAI bundle, which MONAI's own loader runs.

    Parameters
    ----------
    model
        Folder of a model.
    out
        Folder of the bundle.
    """
    from bonekit.segmentation.models.bundle import export_bundle
    from bonekit.segmentation.models.folder import load_model

    print(f"MONAI bundle: {export_bundle(load_model(model), out)}")
    print(f"its docs/README.md says how to run it: {out / 'docs' / 'README.md'}")


@seg.command(name="import")
def import_(
    folder: Path,
    /,
    *,
    out: Output,
    like: Path | None = None,
    orientation: str | None = None,
    checkpoint: str = "checkpoint_final.pth",
    synthetic: Flag = False,
    licence: str | None = None,
) -> None:
    """Import a model that nnU-Net v2 trained: its folds become a model of bonekit.

    Networks of nnU-Net's default plans (PlainConvUNet, 3d_fullres or 3d_lowres) are taken, weights
    exactly; residual encoders, 2d and cascades are refused. No code of the checkpoint is run.

    Parameters
    ----------
    folder
        nnUNet_results/DatasetNNN_name/nnUNetTrainer__nnUNetPlans__3d_fullres, with plans.json,
        dataset.json, fold_0 and so on.
    out
        Folder of the model, for `bonekit seg predict`.
    like
        One image it was trained on: nnU-Net does not note how images lay in their files.
    orientation
        In the place of --like, where the axes of those files point to: LPS, RAS ...
    checkpoint
        File of each fold.
    synthetic
        It was trained on synthetic images only.
    licence
        Of the weights, for the card; by default that of the data set.
    """
    from bonekit.segmentation.models.folder import load_model
    from bonekit.segmentation.models.nnunet import import_nnunet

    import_nnunet(
        folder, out, orientation=orientation, like=like, checkpoint=checkpoint,
        synthetic=synthetic, licence=licence,
    )  # fmt: skip
    card(out)
    count = len(load_model(out).weights)
    print(f"{count} fold{'' if count == 1 else 's'}: {out}")
    print(f"next: bonekit seg predict {out} IMAGE -o PREDICTIONS --mirror (as nnU-Net does)")


@seg.command
def import_labels(
    source: Path,
    /,
    *bones: str,
    out: Output,
    version: Annotated[Literal[1, 2] | None, Parameter(show_default=False)] = None,
) -> None:
    """Bring bones that TotalSegmentator found under bonekit's names, as one label map.

    `bonekit run --labels` reads its multilabel file (option --ml) as it is; this is for a folder
    of masks, a file without names, or a selection of bones.

    Parameters
    ----------
    source
        Multilabel file, or folder with one file for each structure.
    bones
        femur_left, vertebra_L3, sacrum ...; by default all that were found.
    out
        Label map: .nii.gz, .nrrd, .seg.nrrd, .mha.
    version
        1 or 2, of TotalSegmentator: where the file has no names, for both number bones differently.
    """
    from bonekit.image import write
    from bonekit.segmentation.models.totalsegmentator import read_totalsegmentator

    found = read_totalsegmentator(source, *bones, version=version)
    write(found, out)
    print(f"{', '.join(f'{v} {n}' for v, n in found.names.items())}: {out}")
    print(f"next: bonekit run SCAN --labels {out} --bone {next(iter(found.names.values()))} -o RUN")
