"""Bundles are run here by MONAI's own loader, never by bonekit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, load
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from bonekit.errors import InputError
from bonekit.image import Grid, Image
from bonekit.segmentation.inference import PredictSettings, predict
from bonekit.segmentation.models.bundle import export_bundle
from bonekit.segmentation.models.card import Card
from bonekit.segmentation.models.folder import Model
from bonekit.segmentation.networks import build
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Task


def make_model(**more: object) -> Model:
    task = Task.model_validate(
        {
            "name": "toy",
            "description": "Two tissues.",
            "channels": (Channel(name="ct", modality="ct", normalisation="ct"),),
            "labels": {"background": 0, "bone": 1, "lesion": 2},
        }
        | more
    )
    dims = task.dims
    plan = Plan(
        spacing_mm=(2.0, 2.0, 2.0),
        median_shape=(24, 24, 24),
        patch=(24,) * dims,  # the whole image: tiles are weighted in another way by MONAI
        batch=2,
        features=(4, 8, 8, 8),
        kernels=((3,) * dims,) * 4,
        strides=((1,) * dims, *((2,) * dims for _ in range(3))),
        statistics=(Statistics(mean=300.0, std=250.0, low=-200.0, high=1200.0),),
    )
    torch.manual_seed(0)
    weights = {
        k: 1.5 * v for k, v in build(task, plan).state_dict().items() if v.is_floating_point()
    }
    full = build(task, plan).state_dict() | weights
    card = Card(training_data="none", synthetic=False, licence="CC0")
    return Model(task, plan, (full,), card)


def image() -> Image:
    noise = np.random.default_rng(0).standard_normal((24, 24, 24))
    array = (200 + 4000 * gaussian_filter(noise, 2)).astype(np.int16)
    return Image(array, Grid.of(array.shape, (2.0, 2.0, 2.0), (40.0, 30.0, -10.0)))


def loaded(one: Image) -> MetaTensor:
    """What LoadImaged gives of a NIfTI file: the affine leads to RAS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ one.affine
    meta = {"original_channel_dim": "no_channel", "space": "RAS"}
    return MetaTensor(one.array.astype(np.float32), affine=affine, meta=meta)


@pytest.mark.parametrize("views", [("volume",), ("coronal",)])
@pytest.mark.parametrize(("network", "norm"), [("dynunet", "instance"), ("dynunet", "group")])
def test_monai_predicts_the_same_labels(
    tmp_path: Path, views: tuple[str, ...], network: str, norm: str
) -> None:
    model = make_model(views=views, network=network, norm=norm)
    root = export_bundle(model, tmp_path / "toy_bundle")
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.json"))
    parser["bundle_root"] = str(root)
    # Reading, turning and writing need nibabel, which MONAI does not bring along.
    before, after = parser["preprocessing"]["transforms"], parser["postprocessing"]["transforms"]
    assert before.pop(0)["_target_"] == "LoadImaged"
    assert before.pop(2)["_target_"] == "Orientationd"
    assert after.pop()["_target_"] == "SaveImaged"
    net = parser.get_parsed_content("network_def").eval()
    net.load_state_dict(torch.load(root / "models" / "model.pt", weights_only=True))
    case = parser.get_parsed_content("preprocessing")({"image": loaded(image())})
    with torch.inference_mode():
        case["pred"] = parser.get_parsed_content("inferer")(case["image"][None], net)[0]
    found = parser.get_parsed_content("postprocessing")(case)["pred"][0].numpy()
    wanted = predict(model, [image()], PredictSettings(overlap=0.5, views=views))
    assert found.shape == wanted.labels.shape
    agree = (found == wanted.labels.array).mean()
    assert agree > 0.999
    assert len(np.unique(wanted.labels.array)) == 3


def test_the_loader_of_monai_takes_the_weights(tmp_path: Path) -> None:
    model = make_model()
    export_bundle(model, tmp_path / "toy_bundle")
    net = load(
        "toy_bundle",
        bundle_dir=str(tmp_path),
        workflow_type="inference",
        config_files=[str(tmp_path / "toy_bundle" / "configs" / "inference.json")],
    )
    assert type(net).__name__ == "DynUNet"
    assert type(net).__module__.startswith("monai.")
    own = build(model.task, model.plan)
    own.load_state_dict(dict(model.weights[0]))
    x = torch.randn(1, 1, 24, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(net.eval()(x), own.eval()(x))


def test_metadata_say_what_it_is(tmp_path: Path) -> None:
    root = export_bundle(make_model(norm="group"), tmp_path / "b")
    told = json.loads((root / "configs" / "metadata.json").read_text())
    assert told["network_data_format"]["outputs"]["pred"]["channel_def"]["2"] == "lesion"
    assert "not a medical device" in told["intended_use"]
    assert "bonekit" in told["required_packages_version"]
    assert (root / "LICENSE").read_text() == "CC0\n"


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        export_bundle(make_model(), tmp_path)


def test_overlapping_regions_become_labels(tmp_path: Path) -> None:
    regions = {"bone": ("bone", "lesion"), "lesion": ("lesion",)}
    model = make_model(regions=regions, region_order=("bone", "lesion"))
    root = export_bundle(model, tmp_path / "toy_bundle")
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.json"))
    assert parser["run"] == ["$@evaluator.run()"]
    step = parser.get_parsed_content("postprocessing::transforms::2")
    p = torch.tensor([[0.6, 0.6, 0.2, 0.5], [0.9, 0.1, 0.9, 0.5]]).reshape(2, 4, 1, 1)
    assert step({"pred": p})["pred"].ravel().tolist() == [2, 1, 2, 0]


def test_the_readme_of_a_bundle_says_how_to_run_it(tmp_path: Path) -> None:
    root = export_bundle(make_model(norm="group"), tmp_path / "b")
    text = (root / "docs" / "README.md").read_text()
    assert "python -m monai.bundle run --config_file configs/inference.json" in text
    assert "nibabel" in text
    assert "bonekit==" in text
    assert "`case_0000.nii.gz`" in text
