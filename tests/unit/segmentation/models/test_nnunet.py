"""Models of nnU-Net: a tiny checkpoint with its names, beside a network written down for the test.

benchmarks/nnunet_import.py does the same with nnU-Net itself.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bonekit.cli import _code
from bonekit.errors import InputError
from bonekit.image import Grid, Image, write
from bonekit.segmentation.inference import PredictSettings, predict
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.models.nnunet import import_nnunet, orientation_of
from bonekit.segmentation.models.nnunet_plans import axes_of
from bonekit.segmentation.networks import build

KERNELS = ([1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3])
STRIDES = ([1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2])
FEATURES = (4, 6, 8, 8)
PATCH = [4, 16, 24]  # as the network's axes are


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: Any, stride: Any) -> None:
        super().__init__()
        room: Any = [(k - 1) // 2 for k in kernel]
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, room)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, nn.LeakyReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.all_modules(x)
        return found


class Stack(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: Any, stride: Any) -> None:
        super().__init__()
        second = Block(outputs, outputs, kernel, [1, 1, 1])
        self.convs = nn.Sequential(Block(inputs, outputs, kernel, stride), second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.convs(x)
        return found


class Peer(nn.Module):
    """nnU-Net's PlainConvUNet, with its names."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.encoder: Any = nn.Module()
        self.decoder: Any = nn.Module()
        ins = (channels, *FEATURES[:-1])
        every = zip(ins, FEATURES, KERNELS, STRIDES, strict=True)
        self.encoder.stages = nn.Sequential(*(nn.Sequential(Stack(*one)) for one in every))
        self.decoder.encoder = self.encoder
        up: Any = list(zip(FEATURES[:0:-1], FEATURES[-2::-1], STRIDES[:0:-1], strict=True))
        self.decoder.transpconvs = nn.ModuleList(nn.ConvTranspose3d(a, b, s, s) for a, b, s in up)
        self.decoder.stages = nn.ModuleList(
            Stack(2 * b, b, k, [1, 1, 1]) for (_, b, _), k in zip(up, KERNELS[-2::-1], strict=True)
        )
        self.decoder.seg_layers = nn.ModuleList(nn.Conv3d(b, outputs, 1) for _, b, _ in up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for stage in self.encoder.stages:
            x = stage(x)
            skips.append(x)
        layers = zip(self.decoder.transpconvs, self.decoder.stages, skips[-2::-1], strict=True)
        for up, stage, skip in layers:
            x = stage(torch.cat((up(x), skip), 1))
        found: torch.Tensor = self.decoder.seg_layers[-1](x)
        return found


def plans(**more: Any) -> dict[str, Any]:
    full = {
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": PATCH,
        "median_image_size_in_voxels": [6.0, 16.0, 24.0],
        "spacing": [3.0, 1.5, 1.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 4,
                "features_per_stage": list(FEATURES),
                "kernel_sizes": list(KERNELS),
                "strides": list(STRIDES),
                "n_conv_per_stage": [2, 2, 2, 2],
                "n_conv_per_stage_decoder": [2, 2, 2],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "nonlin": "torch.nn.LeakyReLU",
            },
        },
    }
    seen = {"mean": 300.0, "std": 250.0, "percentile_00_5": -200.0, "percentile_99_5": 1200.0}
    return {
        "dataset_name": "Dataset007_Toy",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [1, 0, 2],
        "foreground_intensity_properties_per_channel": {"0": seen},
        "configurations": {
            "base": {**full, **more},
            "3d_fullres": {"inherits_from": "base"},
        },
    }


DATA = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "Bone": 1, "Lesion": 2},
    "numTraining": 5,
    "licence": "CC-BY",
}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Peer]:
    """A results folder of two folds, and the network of the first."""
    root = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    networks = [save(root, fold, 3) for fold in range(2)]
    write_plans(root, plans())
    return root, networks[0]


def save(root: Path, fold: int, outputs: int, **more: object) -> Peer:
    torch.manual_seed(fold)
    network = Peer(1, outputs).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(1.5).add_(0.02 * torch.randn(value.shape))
    content = {
        "network_weights": network.state_dict(),
        "optimizer_state": torch.optim.SGD(network.parameters(), 0.01).state_dict(),
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)]},
        "init_args": {"configuration": "3d_fullres", "fold": fold, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 2),
    }
    (root / f"fold_{fold}").mkdir(parents=True)
    torch.save(content | more, root / f"fold_{fold}" / "checkpoint_final.pth")
    return network


def write_plans(root: Path, content: dict[str, Any], data: dict[str, Any] | None = None) -> None:
    (root / "plans.json").write_text(json.dumps(content))
    (root / "dataset.json").write_text(json.dumps(data or DATA))


def test_logits_of_a_patch_are_the_same(made: tuple[Path, Peer], tmp_path: Path) -> None:
    root, peer = made
    model = load_model(import_nnunet(root, tmp_path / "model", orientation="LPS"))
    assert len(model.weights) == 2
    # transposed (1, 0, 2): the network's axes are y, z, x of the file, so to the back, head, left
    assert model.plan.patch == (24, 4, 16)
    assert model.plan.spacing_mm == (1.0, 3.0, 1.5)
    assert model.task.mirror == (0, 1)
    assert model.task.channels[0].normalisation == "ct"
    assert model.task.labels == {"background": 0, "bone": 1, "lesion": 2}
    assert model.card.licence == "CC-BY"
    ours = build(model.task, model.plan)
    ours.load_state_dict(dict(model.weights[0]))
    x = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        expected, found = peer(x), ours.eval()(x.permute(0, 1, 4, 2, 3))
    assert float(expected.std()) > 0.1
    np.testing.assert_allclose(found.permute(0, 1, 3, 4, 2), expected, atol=2e-5)


def test_a_file_is_seen_as_in_training(made: tuple[Path, Peer], tmp_path: Path) -> None:
    """Files to RAS: the network gets voxels in the order of the file, whatever bonekit's axes.

    Mirrored along its first and third axis it gives logits that are averaged, then softmax.
    """
    root, peer = made
    for path in root.glob("fold_1"):
        (path / "checkpoint_final.pth").unlink()
    hu = np.random.default_rng(0).normal(300, 250, (24, 16, 4)).astype(np.int16)
    hu[hu == 0] = 1  # nothing to crop
    turn = np.diag([-1.0, -1.0, 1.0])
    image = Image(hu, Grid.of(hu.shape, (1.0, 1.5, 3.0), (5.0, 6.0, 7.0), turn))
    write(image, tmp_path / "case.nii.gz")
    write_plans(root, {**plans(), "transpose_forward": [0, 1, 2]})
    model = load_model(import_nnunet(root, tmp_path / "model", like=tmp_path / "case.nii.gz"))
    assert model.plan.orientation == "RAS"
    asked = PredictSettings(probabilities=True, mirror=True)
    found = predict(model, [image], asked).probabilities
    scaled = (np.clip(hu, -200, 1200) - 300.0) / 250.0
    with torch.no_grad():
        x = torch.from_numpy(scaled.astype(np.float32)).permute(2, 1, 0)[None, None]
        logits = [peer(x.flip(axes)).flip(axes) for axes in ((), (2,), (4,), (2, 4))]
        expected = torch.stack(logits).mean(0)[0].softmax(0).permute(0, 3, 2, 1)
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_from_the_command_line(
    made: tuple[Path, Peer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["seg", "import", str(made[0]), "-o", str(tmp_path / "model")]
    assert _code(given) == 2
    assert "--like" in capsys.readouterr().err
    assert _code([*given, "--orientation", "ras", "--licence", "CC0"]) == 0
    said = capsys.readouterr().out
    assert "Trained with nnU-Net on Dataset007_Toy, 5 training cases" in said
    assert "2 folds" in said
    assert load_model(tmp_path / "model").plan.orientation == "RAS"


def test_orientation_must_be_said(made: tuple[Path, Peer], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not note how the training images lay"):
        import_nnunet(made[0], tmp_path / "model")
    with pytest.raises(InputError, match="one of L and R"):
        import_nnunet(made[0], tmp_path / "model", orientation="LLS")


@pytest.mark.parametrize("letters", ["LPS", "RAS", "ASL", "PIR"])
def test_orientation_is_read_from_a_file(tmp_path: Path, letters: str) -> None:
    places = [
        ("LR", "PA", "SI").index(next(p for p in ("LR", "PA", "SI") if c in p)) for c in letters
    ]
    turn = np.zeros((3, 3))
    for column, (place, letter) in enumerate(zip(places, letters, strict=True)):
        turn[place, column] = 1.0 if letter in "LPS" else -1.0
    write(
        Image(np.ones((3, 4, 5), np.int16), Grid.of((3, 4, 5), (1, 1, 1), (0, 0, 0), turn)),
        tmp_path / "one.mha",
    )
    assert orientation_of(tmp_path / "one.mha") == letters
    axes = axes_of({}, letters)
    assert axes.order == tuple(places[::-1])
    assert sorted(axes.orientation) == sorted(letters)


def test_regions_and_an_older_plan(tmp_path: Path) -> None:
    root = tmp_path / "trained"
    save(root, 0, 2)
    full = plans()["configurations"]["base"]
    network = full.pop("architecture")["arch_kwargs"]
    full |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "conv_kernel_sizes": network["kernel_sizes"],
        "pool_op_kernel_sizes": network["strides"],
        "n_conv_per_stage_encoder": [2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2],
    }
    content = plans() | {"configurations": {"3d_fullres": full}}
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    write_plans(root, content, DATA | {"labels": labels, "regions_class_order": [1, 2]})
    with pytest.raises(InputError, match="shape"):  # 4, 8, 8, 8 channels are not 4, 6, 8, 8
        import_nnunet(root, tmp_path / "model", orientation="LPS")
    full["architecture"] = {"network_class_name": "x.PlainConvUNet", "arch_kwargs": network}
    write_plans(root, content, DATA | {"labels": labels, "regions_class_order": [1, 2]})
    task = load_model(import_nnunet(root, tmp_path / "model", orientation="LPS")).task
    assert task.regions == {"whole": ("whole", "core"), "core": ("core",)}
    assert task.outputs == ("whole", "core")
    assert task.labels == {"background": 0, "whole": 1, "core": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalization_schemes": ["RescaleTo01Normalization"]}, "RescaleTo01Normalization"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resample_torch_fornnunet"),
        ({"preprocessor_name": "Mine"}, "preprocessor Mine"),
        ({"previous_stage": "3d_lowres"}, "second of a cascade"),
        ({"patch_size": [32, 32]}, "two dimensions"),
        (
            {"architecture": {"network_class_name": "a.ResidualEncoderUNet", "arch_kwargs": {}}},
            "ResidualEncoderUNet",
        ),
    ],
)
def test_what_differs_is_refused_by_name(
    made: tuple[Path, Peer], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_plans(made[0], plans(**change))
    with pytest.raises(InputError, match=message):
        import_nnunet(made[0], tmp_path / "model", orientation="LPS")


class Evil:
    """What a pickle may do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_a_pickle_that_runs_code_is_refused(
    made: tuple[Path, Peer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(made[0], 2, 3, logging=Evil())
    with pytest.raises(InputError, match="can run code and is refused"):
        import_nnunet(made[0], tmp_path / "model", orientation="LPS")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "model").exists()


def test_weights_of_another_network_are_refused(made: tuple[Path, Peer], tmp_path: Path) -> None:
    state = made[1].state_dict() | {"encoder.stages.0.0.extra.weight": torch.zeros(1)}
    save(made[0], 2, 3, network_weights=state)
    with pytest.raises(InputError, match="extra"):
        import_nnunet(made[0], tmp_path / "model", orientation="LPS")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plans\.json"):
        import_nnunet(tmp_path, tmp_path / "model", orientation="LPS")
