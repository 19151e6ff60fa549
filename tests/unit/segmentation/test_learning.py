import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bonekit.errors import InputError
from bonekit.segmentation import learning
from bonekit.segmentation.data.subjects import Dataset
from bonekit.segmentation.inference import PredictSettings
from bonekit.segmentation.learning import find_temperature, learn, voxels_near_boundaries
from bonekit.segmentation.models.folder import load_model, set_temperature
from bonekit.segmentation.planning.fingerprint import fingerprint
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.planning.rules import make_plan
from bonekit.segmentation.synthesis import make_dataset
from bonekit.segmentation.task_files import load_task
from bonekit.segmentation.training import TrainSettings

TASK = load_task("bone_metastases_ct")
SETTINGS = TrainSettings(
    steps=60, every=30, batch=8, validation_batches=1, seed=3,
    optimiser="adamw", learning_rate=0.01, ema=0.8,
)  # fmt: skip
ONE_VIEW = PredictSettings(views=("axial",), overlap=0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("learning") / "data"
    return make_dataset(folder, TASK, 4, seed=1, shape=(24, 24, 24), spacing_mm=(6.0, 6.0, 6.0))


@pytest.fixture(scope="module")
def plan(dataset: Dataset) -> Plan:
    return make_plan(fingerprint(dataset), TASK, "cpu")


@pytest.fixture(scope="module")
def model(dataset: Dataset, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learned") / "model"
    return learn(dataset, plan, folder, folds=2, settings=SETTINGS, prediction=ONE_VIEW)


def test_card_tells_data_and_results_of_the_fold_that_was_kept_out(model: Path) -> None:
    card = load_model(model).card
    assert card.synthetic
    assert card.training_data.startswith("2 synthetic subjects. Fold 0 of 2 was kept out")
    dice = {m.name: m for m in card.metrics}["bone dice"]
    scores = [json.loads(p.read_text()) for p in (model / "validation/scores").glob("*.json")]
    of_subjects = [s["score"]["values"]["bone"]["dice"] for s in scores]
    assert dice.subjects == len(of_subjects) == 2
    assert dice.value == pytest.approx(np.mean(of_subjects))
    assert "synthetic" in (model / "card.md").read_text()
    assert (model / "validation/evaluation.html").is_file()


def test_the_model_has_learned_the_bone(model: Path) -> None:
    dice = {m.name: m.value for m in load_model(model).card.metrics}["bone dice"]
    assert dice > 0.85


def test_temperature_makes_the_truth_likelier(model: Path, dataset: Dataset) -> None:
    found = load_model(model)
    assert found.temperature != 1.0

    def likelihood(temperature: float) -> float:
        at = replace(found, temperature=temperature)
        ((logits, true),) = voxels_near_boundaries(at, dataset.subjects[:1], ONE_VIEW)
        chance = 1 / (1 + np.exp(-logits.astype(float) / temperature))
        return float(np.log(np.where(true, chance, 1 - chance)).mean())

    best = find_temperature(found, dataset.subjects[:1], ONE_VIEW)
    assert likelihood(best) > max(likelihood(0.8 * best), likelihood(1.25 * best))


def test_temperature_does_not_depend_on_the_one_before(model: Path, dataset: Dataset) -> None:
    first = find_temperature(load_model(model), dataset.subjects, ONE_VIEW)
    set_temperature(model, 3.0)
    assert find_temperature(load_model(model), dataset.subjects, ONE_VIEW) == first


def test_the_same_call_again_trains_no_more(model: Path, dataset: Dataset, plan: Plan) -> None:
    before = (model / "history.jsonl").read_text()
    weights = load_model(model).weights[0]
    learn(dataset, plan, model, folds=2, settings=SETTINGS, prediction=ONE_VIEW)
    assert (model / "history.jsonl").read_text() == before
    for name, value in load_model(model).weights[0].items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_card_says_that_probabilities_are_not_calibrated(
    dataset: Dataset, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> float:
        raise InputError("no temperature is best")

    monkeypatch.setattr(learning, "find_temperature", none)
    few = SETTINGS.model_copy(update={"steps": 2})
    model = learn(dataset, plan, tmp_path, folds=2, settings=few, prediction=ONE_VIEW)
    assert load_model(model).temperature == 1.0
    assert "probabilities are not calibrated: no temperature" in (model / "card.md").read_text()


def test_fold_that_is_not_there(dataset: Dataset, plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fold 2; allowed: 0 to 1"):
        learn(dataset, plan, tmp_path / "model", fold=2, folds=2, settings=SETTINGS)


def test_temperature_of_labels_that_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    """Logits three times too large, of truth drawn from the right ones: the temperature is 3."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (3, 20_000)).astype(np.float32)
    p = np.exp(honest) / np.exp(honest).sum(0)
    drawn = (rng.random(p.shape[1]) > p.cumsum(0)).sum(0)
    truth = np.arange(3)[:, None] == drawn
    monkeypatch.setattr(
        learning, "voxels_near_boundaries", lambda *_: iter([(3 * honest, truth)] * 2)
    )
    known = load_model(model)
    task = known.task.model_copy(update={"regions": None, "region_order": None})
    assert find_temperature(replace(known, task=task), ()) == pytest.approx(3.0, rel=0.05)
