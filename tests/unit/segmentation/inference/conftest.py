import numpy as np
import pytest
import torch
from torch import nn

from bonekit.image import Grid, Image
from bonekit.segmentation.inference import ensemble
from bonekit.segmentation.models.card import Card
from bonekit.segmentation.models.folder import Model
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Task, View


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Toy(nn.Module):
    """One convolution and a dropout: enough to tell neighbours and axes apart."""

    def __init__(self, channels: int, outputs: int, dims: int) -> None:
        super().__init__()
        conv = nn.Conv3d if dims == 3 else nn.Conv2d
        self.conv = conv(channels, outputs, 3, padding=1)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv(self.drop(x))
        return found


def toy_task(views: tuple[View, ...] = ("volume",), **more: object) -> Task:
    content = {
        "name": "toy",
        "description": "Two tissues.",
        "channels": (Channel(name="ct", modality="ct", normalisation="ct"),),
        "labels": {"background": 0, "bone": 1, "lesion": 2},
        "views": views,
    }
    return Task.model_validate(content | more)


def toy_plan(dims: int = 3, spacing_mm: tuple[float, float, float] = (1.5, 1.5, 2.0)) -> Plan:
    size = (16, 12, 8) if dims == 3 else (16, 8)
    return Plan(
        spacing_mm=spacing_mm,
        median_shape=(24, 18, 12),
        patch=size,
        batch=2,
        features=(4, 8),
        kernels=((3,) * dims,) * 2,
        strides=((1,) * dims, (2,) * dims),
        statistics=(Statistics(mean=300.0, std=250.0, low=-200.0, high=1200.0),),
    )


def toy_state(task: Task, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    net = Toy(len(task.channels), len(task.outputs), task.dims)
    return {name: 3.0 * value for name, value in net.state_dict().items()}


def toy_model(task: Task, plan: Plan | None = None, folds: int = 1, **more: object) -> Model:
    content = {
        "task": task,
        "plan": plan or toy_plan(task.dims),
        "weights": tuple(toy_state(task, seed) for seed in range(folds)),
        "card": Card(training_data="none", synthetic=False),
    }
    return Model(**(content | more))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def toy_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every model the toy network."""

    def build(task: Task, plan: Plan) -> nn.Module:
        return Toy(len(task.channels), len(task.outputs), task.dims)

    monkeypatch.setattr(ensemble, "build", build)


def ct(shape: tuple[int, int, int] = (27, 40, 25), *, seed: int = 0, turned: bool = True) -> Image:
    """Smooth random HU on axes that are permuted, mirrored and a little oblique."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial.transform import Rotation

    noise = np.random.default_rng(seed).standard_normal(shape)
    array = (200 + 3000 * gaussian_filter(noise, 2)).astype(np.int16)
    array[:2] = 0  # prediction crops what is zero
    direction = np.eye(3)
    if turned:
        direction = np.eye(3)[:, [1, 0, 2]] * [1, -1, -1]
        direction = Rotation.from_euler("xyz", [4, 7, -5], degrees=True).as_matrix() @ direction
    return Image(array, Grid.of(shape, (1.1, 0.9, 1.3), (5.0, -20.0, 300.0), direction))
