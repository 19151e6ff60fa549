import json
import logging
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from bonekit.errors import InputError
from bonekit.segmentation.models.card import SYNTHETIC, WARNING, Card, Measure
from bonekit.segmentation.models.folder import (
    fingerprint,
    load_model,
    save_model,
    set_card,
    set_temperature,
    sha256,
)
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Task


def make_task(name: str = "bone_ct") -> Task:
    return Task(
        name=name,
        description="Bone in CT.",
        channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
        labels={"background": 0, "bone": 1},
    )


PLAN = Plan(
    spacing_mm=(1.0, 1.0, 2.0),
    median_shape=(32, 32, 16),
    patch=(16, 16, 8),
    batch=2,
    features=(8, 16),
    kernels=((3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (2, 2, 2)),
    statistics=(Statistics(mean=300.0, std=200.0, low=-100.0, high=1200.0),),
)
CARD = Card(
    training_data="20 CT of site A",
    synthetic=False,
    metrics=(Measure(name="bone dice", value=0.91, low=0.88, high=0.93, subjects=4),),
    failure_modes=("metal",),
    licence="CC BY 4.0",
)


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "conv.weight": torch.randn(4, 1, 3, 3, 3, generator=draw),
        "count": torch.tensor(seed),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", make_task(), PLAN, state(), CARD)


def test_a_saved_model_comes_back_whole(folder: Path) -> None:
    model = load_model(folder)
    assert model.task == make_task()
    assert model.plan == PLAN
    assert model.card == CARD
    assert model.temperature == 1.0
    torch.testing.assert_close(dict(model.weights[0]), state(), rtol=0, atol=0)


def test_folds_come_back_in_order(tmp_path: Path) -> None:
    states = [state(n) for n in range(11)]
    model = load_model(save_model(tmp_path, make_task(), PLAN, states, CARD))
    assert [int(one["count"]) for one in model.weights] == list(range(11))
    assert (tmp_path / "weights_fold10.safetensors").is_file()


def test_the_same_model_has_the_same_files(folder: Path, tmp_path: Path) -> None:
    again = save_model(tmp_path / "again", make_task(), PLAN, state(), CARD)
    assert sha256(folder / "weights.safetensors") == sha256(again / "weights.safetensors")
    assert fingerprint(load_model(folder)) == fingerprint(load_model(again))


def test_the_fingerprint_sees_weights_and_temperature(folder: Path, tmp_path: Path) -> None:
    first = fingerprint(load_model(folder))
    other = save_model(tmp_path / "b", make_task(), PLAN, state(1), CARD)
    assert fingerprint(load_model(other)) != first
    set_temperature(folder, 1.5)
    assert load_model(folder).temperature == 1.5
    assert fingerprint(load_model(folder)) != first


def test_saving_again_leaves_no_old_fold(tmp_path: Path) -> None:
    save_model(tmp_path, make_task(), PLAN, [state(0), state(1)], CARD)
    save_model(tmp_path, make_task(), PLAN, state(2), CARD)
    assert len(load_model(tmp_path).weights) == 1
    assert not list(tmp_path.glob("weights_fold*"))


@pytest.mark.parametrize("name", ["weights.safetensors", "task.yaml", "plan.json", "card.md"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="changed or damaged"):
        load_model(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="is missing"):
        load_model(folder)


def test_an_unfinished_folder_is_refused(folder: Path) -> None:
    (folder / "model.json").unlink()
    with pytest.raises(InputError, match="no finished model"):
        load_model(folder)
    with pytest.raises(InputError, match="no model folder"):
        load_model(folder / "nowhere")


def test_weights_of_another_task_are_refused(folder: Path, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", make_task("leg_mri"), PLAN, state(), CARD)
    shutil.copy(other / "weights.safetensors", folder)
    seal = json.loads((folder / "model.json").read_text())
    seal["sha256"]["weights.safetensors"] = sha256(folder / "weights.safetensors")
    (folder / "model.json").write_text(json.dumps(seal))
    with pytest.raises(InputError, match="weights of another task: 'leg_mri'"):
        load_model(folder)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code ran')",)


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    seal = json.loads((folder / "model.json").read_text())
    seal["sha256"]["weights.safetensors"] = sha256(folder / "weights.safetensors")
    (folder / "model.json").write_text(json.dumps(seal))
    with pytest.raises(InputError, match="no safetensors file"):
        load_model(folder)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "checkpoint_final.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match=r"pickled weights \(checkpoint_final.pth\)"):
        load_model(bare)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    bad = {"conv.weight": torch.tensor([1.0, float("nan")])}
    with pytest.raises(InputError, match="NaN or infinity"):
        save_model(tmp_path, make_task(), PLAN, bad, CARD)
    with pytest.raises(InputError, match="at least one fold"):
        save_model(tmp_path, make_task(), PLAN, [], CARD)


def test_the_card_says_what_the_model_is(folder: Path) -> None:
    text = (folder / "card.md").read_text()
    assert WARNING in text
    assert SYNTHETIC not in text
    assert "| bone dice | 0.91 | 0.88 to 0.93 | 4 |" in text
    assert "- metal" in text
    assert "CC BY 4.0" in text


def test_a_new_card_keeps_the_seal(folder: Path) -> None:
    card = CARD.model_copy(update={"metrics": (Measure(name="bone dice", value=0.5),)})
    set_card(folder, card)
    assert load_model(folder).card.metrics[0].value == 0.5
    assert "| bone dice | 0.5 | - | - |" in (folder / "card.md").read_text()


def test_synthetic_weights_say_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    card = CARD.model_copy(update={"synthetic": True})
    save_model(tmp_path, make_task(), PLAN, state(), card)
    assert SYNTHETIC in (tmp_path / "card.md").read_text()
    with caplog.at_level(logging.WARNING):
        load_model(tmp_path)
        load_model(tmp_path)
    assert [r.getMessage() for r in caplog.records].count(f"{tmp_path}: {SYNTHETIC}") == 1


def test_unknown_entries_of_the_seal_are_refused(folder: Path) -> None:
    seal = json.loads((folder / "model.json").read_text()) | {"surprise": 1}
    (folder / "model.json").write_text(json.dumps(seal))
    with pytest.raises(InputError, match="surprise"):
        load_model(folder)
