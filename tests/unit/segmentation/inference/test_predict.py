import numpy as np
import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from scipy.ndimage import map_coordinates

from bonekit.errors import InputError
from bonekit.image import Grid, Image
from bonekit.segmentation.data.prepare import prepare
from bonekit.segmentation.inference.ensemble import load_networks
from bonekit.segmentation.inference.predict import Prediction, predict
from bonekit.segmentation.inference.settings import PredictSettings
from bonekit.segmentation.inference.source import canonical, turned
from bonekit.segmentation.models.folder import Model

from .conftest import ct, toy_model, toy_plan, toy_task

ALL = PredictSettings(probabilities=True)


def window(patch: tuple[int, ...]) -> torch.Tensor:
    """Gaussian of an eighth of the patch, in three dimensions at once."""
    places = np.moveaxis(np.indices(patch), 0, -1) - (np.array(patch) - 1) / 2
    return torch.from_numpy(np.exp(-32.0 * ((places / np.array(patch)) ** 2).sum(-1))).float()


def unsliced(model: Model, image: Image) -> np.ndarray:
    """Probabilities by MONAI's inferer on the whole image, interpolated by scipy."""
    ready = prepare([image], model.task, model.plan)
    (network,) = load_networks(model, torch.device("cpu"))
    with torch.inference_mode():
        found = sliding_window_inference(
            torch.from_numpy(ready.image)[None],
            model.plan.patch,
            1,
            lambda x: network(x).softmax(1),
            overlap=0.5,
            roi_weight_map=window(model.plan.patch),
        )[0].numpy()
    index = ready.grid.index(image.grid.points())
    made = np.stack(
        [map_coordinates(p, np.moveaxis(index, -1, 0), order=1, mode="nearest") for p in found]
    )
    made[:, :2] = np.array([1.0, 0.0, 0.0])[:, None, None, None]  # zeros of the image
    return made


def same(a: Prediction, b: Prediction) -> None:
    np.testing.assert_array_equal(a.labels.array, b.labels.array)
    np.testing.assert_array_equal(a.entropy.array, b.entropy.array)
    if a.probabilities is not None and b.probabilities is not None:
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
    for one, other in zip(a.samples, b.samples, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


def test_slabs_give_what_the_whole_volume_gives() -> None:
    image, model = ct(), toy_model(toy_task())
    found = predict(model, [image], ALL.model_copy(update={"slab_MB": 0.01}))
    wanted = unsliced(model, image)
    assert found.labels.grid.same_as(image.grid)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, wanted, atol=2e-5)
    clear = np.diff(np.sort(wanted, axis=0)[-2:], axis=0)[0]
    agree = found.labels.array == wanted.argmax(0)
    assert agree[clear > 1e-4].all()
    assert {0, 1, 2} == set(np.unique(found.labels.array))
