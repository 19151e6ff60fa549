import numpy as np
import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from scipy.ndimage import map_coordinates

from bonekit.errors import InputError
from bonekit.image import Grid, Image
from bonekit.segmentation.data.prepare import prepare
from bonekit.segmentation.inference.ensemble import load_networks
from bonekit.segmentation.inference.fusion import fuse
from bonekit.segmentation.inference.predict import Prediction, predict
from bonekit.segmentation.inference.settings import PredictSettings
from bonekit.segmentation.inference.source import canonical, open_source, turned
from bonekit.segmentation.models.folder import Model
from bonekit.segmentation.task import View

from .conftest import Toy, ct, toy_model, toy_plan, toy_task

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
    """The same but for the last bit of a float, which decides a tie once in a long while."""
    np.testing.assert_allclose(np.asarray(a.probabilities), np.asarray(b.probabilities), atol=1e-6)
    for one, other in zip((a.labels, *a.samples), (b.labels, *b.samples), strict=True):
        assert np.count_nonzero(one.array != other.array) <= 2
    assert np.abs(a.entropy.array.astype(int) - b.entropy.array.astype(int)).max() <= 1


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


@pytest.mark.parametrize("views", [("volume",), ("sagittal", "axial")])
def test_the_thickness_of_slabs_changes_nothing(views: tuple[View, ...]) -> None:
    model, image = toy_model(toy_task(views)), ct((14, 24, 18))
    settings = PredictSettings(probabilities=True, samples=2, dropout=1, mirror=True)
    thin = predict(model, [image], settings.model_copy(update={"slab_MB": 0.005}))
    thick = predict(model, [image], settings)
    same(thin, thick)
    assert len(thin.samples) == 2


def test_overlapping_regions_are_written_in_their_order() -> None:
    regions = {"whole": ("bone", "lesion"), "core": ("lesion",)}
    task = toy_task(regions=regions, region_order=("bone", "lesion"))
    found = predict(toy_model(task), [ct()], ALL)
    assert found.probabilities is not None
    whole, core = found.probabilities > 0.5
    np.testing.assert_array_equal(found.labels.array, np.where(core, 2, np.where(whole, 1, 0)))
    assert (core & ~whole).any()


def test_a_view_sees_slices_across_its_axis() -> None:
    """At the network's own spacing, whole slices: the 2-D network on each slice by hand."""
    image = ct(turned=False)
    plan = toy_plan(2, spacing_mm=(1.1, 0.9, 1.3))
    whole = PredictSettings(probabilities=True, whole=True)
    views: tuple[tuple[View, int], ...] = (("sagittal", 0), ("coronal", 1), ("axial", 2))
    for view, axis in views:
        model = toy_model(toy_task((view,)), plan)
        (network,) = load_networks(model, torch.device("cpu"))
        array = torch.from_numpy(prepare([image], model.task, plan).image[0])
        with torch.inference_mode():
            slices = [network(one[None, None]).softmax(1)[0] for one in array.unbind(axis)]
        wanted = torch.stack(slices, dim=axis + 1).numpy()
        found = predict(model, [image], whole)
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities[:, 2:], wanted, atol=1e-6)


def test_planes_are_joined_by_the_rule_of_the_task() -> None:
    views: tuple[View, ...] = ("sagittal", "coronal", "axial")
    task = toy_task(views, fusion="log_pool")
    model = toy_model(task, toy_plan(2, spacing_mm=(1.1, 0.9, 1.3)))
    image = ct((14, 24, 18), turned=False)
    alone = [predict(model, [image], ALL.model_copy(update={"views": (v,)})) for v in views]
    parts = [torch.from_numpy(a.probabilities).transpose(0, 1) for a in alone]
    wanted = fuse(parts, "log_pool", exclusive=True).transpose(0, 1).numpy()
    found = predict(model, [image], ALL)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, wanted, atol=1e-5)
    mean = predict(model, [image], ALL.model_copy(update={"fusion": "mean"}))
    assert np.abs(np.asarray(mean.probabilities) - wanted).max() > 1e-2


def test_the_whole_volume_goes_through_at_once() -> None:
    model, image = toy_model(toy_task()), ct()
    found = predict(model, [image], ALL.model_copy(update={"whole": True}))
    tiles = predict(model, [image], ALL)
    assert found.probabilities is not None
    assert tiles.probabilities is not None
    difference = np.abs(found.probabilities - tiles.probabilities)
    assert np.median(difference) < 1e-3 < difference.max()  # only borders of tiles differ


def test_mirrored_images_and_folds_are_averaged() -> None:
    image = ct(turned=False)
    plan = toy_plan(3, spacing_mm=(1.1, 0.9, 1.3))
    model = toy_model(toy_task(mirror=(0, 2)), plan, folds=2)
    array = torch.from_numpy(prepare([image], model.task, plan).image)[None]
    total = torch.zeros(())
    with torch.inference_mode():
        for network in load_networks(model, torch.device("cpu")):
            for dims in ((), (2,), (4,), (2, 4)):
                total = total + network(array.flip(dims)).softmax(1).flip(dims) / 8
    settings = PredictSettings(probabilities=True, whole=True, mirror=True)
    found = predict(model, [image], settings)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[:, 2:], total[0].numpy(), atol=1e-6)


def test_dropout_is_drawn_from_the_seed() -> None:
    model = toy_model(toy_task())
    state = torch.random.get_rng_state()
    settings = PredictSettings(probabilities=True, dropout=3)
    first, again = (predict(model, [ct()], settings) for _ in range(2))
    same(first, again)
    assert torch.equal(state, torch.random.get_rng_state())
    other = predict(model, [ct()], settings.model_copy(update={"seed": 1}))
    plain = predict(model, [ct()], ALL)
    assert first.probabilities is not None
    for one in (other, plain):
        assert np.abs(first.probabilities - np.asarray(one.probabilities)).max() > 0.01


def test_the_temperature_is_applied_to_what_was_joined() -> None:
    task, image = toy_task(), ct()
    cold = predict(toy_model(task), [image], ALL)
    warm = predict(toy_model(task, temperature=3.0), [image], ALL)
    np.testing.assert_array_equal(cold.labels.array[2:], warm.labels.array[2:])
    assert warm.entropy.array[2:].mean() > cold.entropy.array[2:].mean() + 10
    assert cold.probabilities is not None
    h = -(cold.probabilities * np.log(np.maximum(cold.probabilities, 1e-30))).sum(0) / np.log(3)
    np.testing.assert_allclose(cold.entropy.array, 255 * h, atol=0.51)


def test_an_absent_optional_channel_is_zero() -> None:
    channels = [
        {"name": "t1", "modality": "mri", "normalisation": "zscore"},
        {"name": "t2", "modality": "mri", "normalisation": "zscore", "optional": True},
    ]
    task = toy_task(channels=channels)
    plan = toy_plan().model_copy(update={"statistics": toy_plan().statistics * 2})
    plan = plan.model_copy(update={"inside_nonzero": True})
    image = ct()
    found = predict(toy_model(task, plan), [image, None])
    assert found.labels.shape == image.shape
    other = predict(toy_model(task, plan), [image, ct(seed=3)])
    assert (found.labels.array != other.labels.array).any()
    ready = prepare([image, None], task, plan)
    source = open_source(toy_model(task, plan), [image, None])
    made = source.block((0, 0, 0), source.grid.shape).numpy()
    np.testing.assert_allclose(made, ready.image, atol=1e-5)


def test_a_network_of_one_label_map_per_sample_follows_the_probabilities() -> None:
    found = predict(toy_model(toy_task()), [ct()], PredictSettings(samples=8))
    sure = found.entropy.array < 8
    differ = np.mean([s.array != found.labels.array for s in found.samples], axis=0)
    assert differ[sure].mean() < 0.02 < differ[found.entropy.array > 200].mean()
    assert any((a.array != found.samples[0].array).any() for a in found.samples[1:])


@pytest.mark.parametrize("name", ["both", "none"])
def test_images_that_don_t_fit_are_refused(name: str) -> None:
    images = {"both": [ct(), ct()], "none": [None]}[name]
    with pytest.raises(InputError, match=r"channel"):
        predict(toy_model(toy_task()), images)


def test_bad_settings_and_weights_are_refused() -> None:
    model = toy_model(toy_task(("axial",)))
    with pytest.raises(InputError, match="view coronal was not trained"):
        predict(model, [ct()], PredictSettings(views=("coronal",)))
    wrong = Model(model.task, model.plan, ({"other": torch.zeros(1)},), model.card)
    with pytest.raises(InputError, match="do not fit the network"):
        predict(wrong, [ct()])
    array = ct().array.astype(np.float32)
    array[5, 5, 5] = np.nan
    with pytest.raises(InputError, match="NaN"):
        predict(model, [Image(array, ct().grid)])
    thin = Image(ct().array[:, :, :1], Grid((27, 40, 1), ct().affine))
    with pytest.raises(InputError, match="at least"):
        predict(toy_model(toy_task()), [thin])


def test_dropout_of_a_network_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "__init__", bare)
    with pytest.raises(InputError, match="no dropout layer"):
        predict(toy_model(toy_task()), [ct()], PredictSettings(dropout=2))


def bare(self: Toy, channels: int, outputs: int, dims: int) -> None:
    torch.nn.Module.__init__(self)
    self.conv = torch.nn.Conv3d(channels, outputs, 3, padding=1)
    self.drop = torch.nn.Identity()


@pytest.mark.parametrize("turned_", [True, False])
def test_views_are_canonical_without_a_copy(turned_: bool) -> None:
    image = ct(turned=turned_)
    view, copy = canonical(image), image.canonical()
    np.testing.assert_array_equal(view.array, copy.array)
    assert view.grid.same_as(copy.grid)
    assert np.shares_memory(view.array, image.array)
    assert turned(np.zeros((4, *image.shape)), image.grid).shape == (4, *copy.shape)
