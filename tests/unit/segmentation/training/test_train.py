"""The loop: it learns, comes back after a kill bit by bit, and stops where it should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bonekit.errors import ConvergenceError, InputError
from bonekit.image import Grid
from bonekit.segmentation.data.prepare import Prepared
from bonekit.segmentation.models.card import Card
from bonekit.segmentation.models.folder import load_model, save_model
from bonekit.segmentation.networks import build
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Metrics, Network, Task
from bonekit.segmentation.training.settings import TrainSettings
from bonekit.segmentation.training.train import fit

torch.set_num_threads(1)
GRID = Grid((16, 16, 16), np.eye(4))
CARD = Card(training_data="boxes", synthetic=True)
PLAN = Plan(
    spacing_mm=(1.0, 1.0, 1.0),
    median_shape=(16, 16, 16),
    patch=(16, 16),
    batch=4,
    features=(4, 8, 8, 8),
    kernels=((3, 3),) * 4,
    strides=((1, 1), (2, 2), (2, 2), (2, 2)),
    statistics=(Statistics(mean=0.0, std=1.0, low=-1.0, high=1.0),),
)
SHORT = TrainSettings(steps=12, every=5, validation_batches=2, device="cpu")


def task(network: Network = "dynunet", labels: tuple[str, ...] = ("bone", "lesion")) -> Task:
    return Task(
        name="toy",
        description="Boxes",
        channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
        labels={"background": 0, **{name: i for i, name in enumerate(labels, start=1)}},
        network=network,
        norm="batch",
        views=("axial", "coronal"),
        metrics=Metrics(lesions=labels[1:]),
    )


def subject(number: int) -> Prepared:
    """A bright box with a dark one in it."""
    rng = np.random.default_rng(number)
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    a, b, c = rng.integers(2, 5, 3)
    labels[a : a + 9, b : b + 9, c : c + 9] = 1
    labels[a + 2 : a + 6, b + 2 : b + 6, c + 2 : c + 6] = 2
    image = np.choose(labels, (-1.0, 2.0, 0.5)) + 0.1 * rng.normal(size=GRID.shape)
    return Prepared(f"s{number}", image[None].astype(np.float32), labels, GRID, GRID)


def run(folder: Path, settings: TrainSettings = SHORT, **more: object) -> Path:
    subjects = [subject(i) for i in range(4)]
    toy = more.pop("task", task())
    return fit(subjects[:3], subjects[3:], toy, PLAN, folder, settings, card=CARD, **more)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(folder, allow_demo=True).weights[0])


def same(a: Path, b: Path) -> bool:
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def kill_at(step: int) -> Callable[[int, int, float], None]:
    def kill(now: int, steps: int, loss: float) -> None:
        if now == step:
            raise KeyboardInterrupt

    return kill


def test_boxes_are_learned_and_the_folder_tells_of_it(tmp_path: Path) -> None:
    settings = TrainSettings(
        steps=120, every=20, validation_batches=4, device="cpu", optimiser="adamw",
        learning_rate=0.02, ema=0.9, augment=False,
    )  # fmt: skip
    seen: list[tuple[int, int]] = []
    folder = run(tmp_path / "m", settings, progress=lambda a, b, _: seen.append((a, b)))
    assert seen == [(i, 120) for i in range(1, 121)]
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60, 80, 100, 120]
    assert list(rows[-1]["dice"]) == ["bone", "lesion"]
    assert min(rows[-1]["dice"].values()) > 0.9
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = load_model(folder, allow_demo=True)
    build(model.task, model.plan).load_state_dict(dict(model.weights[0]))
    again = run(tmp_path / "m", settings, progress=lambda a, b, _: seen.append((a, b)))
    assert len(seen) == 120  # it was done
    assert again == folder


@pytest.mark.parametrize("network", ["dynunet", "gelan"])  # SGD, AdamW
def test_killed_and_taken_up_again_is_bit_by_bit_the_same(network: Network, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", task=task(network))
    with pytest.raises(KeyboardInterrupt):  # the last state is of step 5
        run(tmp_path / "broken", task=task(network), progress=kill_at(8))
    assert not (tmp_path / "broken" / "model.json").exists()
    resumed: list[int] = []
    free = SHORT.model_copy(update={"workers": 2})
    run(tmp_path / "broken", free, task=task(network), progress=lambda a, *_: resumed.append(a))
    assert resumed == list(range(6, 13))
    assert same(whole, tmp_path / "broken")
    lines = [(f / "history.jsonl").read_text().splitlines() for f in (whole, tmp_path / "broken")]
    kept = [[{**json.loads(row), "seconds": 0} for row in part] for part in lines]
    assert kept[0] == kept[1]


def test_seed_decides(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a"), run(tmp_path / "b")
    c = run(tmp_path / "c", SHORT.model_copy(update={"seed": 1}))
    assert same(a, b)
    assert not same(a, c)


def test_a_planned_cascade_is_said_not_to_be_trained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    low = PLAN.model_copy(update={"spacing_mm": (2.0, 2.0, 2.0)})
    large = PLAN.model_copy(update={"low_resolution": low})
    few = SHORT.model_copy(update={"steps": 1, "every": 1})
    subjects = [subject(0)]
    fit(subjects, [], task(), PLAN, tmp_path / "a", few, card=CARD)
    assert "cascade" not in caplog.text
    fit(subjects, [], task(), large, tmp_path / "b", few, card=CARD)
    assert "a network at 2 x 2 x 2 mm before this one (a cascade), bonekit trains" in caplog.text


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match="another task, plan, settings or subjects"):
        run(tmp_path, SHORT.model_copy(update={"steps": 20}))


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    whole = (tmp_path / "training.state").read_bytes()
    (tmp_path / "training.state").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"training\.state can't be read"):
        run(tmp_path)


def test_nan_stops_with_subject_and_step_and_keeps_the_state(tmp_path: Path) -> None:
    bad, often = subject(0), SHORT.model_copy(update={"save_seconds": 0.0, "batch": 1})
    bad.image[0, 6, 6, 6] = np.nan
    bad.image[0, 8, 8, 8] = np.nan
    subjects = [bad, *(subject(i) for i in range(1, 4))]
    with pytest.raises(ConvergenceError, match="the image is nan on patches of s0") as raised:
        fit(subjects, [], task(), PLAN, tmp_path, often, card=CARD)
    state = tmp_path / "training.state"
    kept = torch.load(state, weights_only=True) if state.exists() else None
    step = kept["progress"]["step"] if kept else 0
    assert f"step {step + 1}: " in str(raised.value)
    assert ("no state was written" if kept is None else f"state of step {step} is") in str(
        raised.value
    )
    assert kept is None or all(torch.isfinite(v).all() for v in kept["network"].values())


def test_diverged_weights_are_not_kept(tmp_path: Path) -> None:
    wild = SHORT.model_copy(update={"learning_rate": 1e30, "optimiser": "sgd"})
    with pytest.raises(ConvergenceError, match=r"the (loss|gradient) is .*lower learning rate"):
        run(tmp_path, wild)
    assert not (tmp_path / "model.json").exists()


def test_full_disk_is_named_and_the_state_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=kill_at(7))
    before = (tmp_path / "training.state").read_bytes()

    def full(content: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(InputError, match=r"No space left.*Free space and run the same"):
            run(tmp_path)
    assert (tmp_path / "training.state").read_bytes() == before
    whole = run(tmp_path / "whole")
    assert same(run(tmp_path), whole)


def test_patience_stops_and_best_weights_are_kept(tmp_path: Path) -> None:
    still = TrainSettings(
        steps=100,
        every=1,
        batch=2,
        validation_batches=1,
        device="cpu",
        learning_rate=1e-12,
        patience=3,
    )
    run(tmp_path, still)
    rows = (tmp_path / "history.jsonl").read_text().splitlines()
    dice = [json.loads(row)["mean_dice"] for row in rows]
    assert len(rows) < 20
    assert max(dice) - dice[-4] < 2e-4


def test_minutes_stop_and_more_minutes_go_on(tmp_path: Path) -> None:
    run(tmp_path, SHORT.model_copy(update={"minutes": 1e-9}))
    kept = torch.load(tmp_path / "training.state", weights_only=True)
    assert kept["progress"]["step"] == 1
    run(tmp_path, SHORT.model_copy(update={"minutes": 10.0}))
    rows = (tmp_path / "history.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 12


def test_fine_tuning_starts_from_the_weights_of_a_model(tmp_path: Path) -> None:
    first = run(tmp_path / "first")
    still = SHORT.model_copy(update={"learning_rate": 1e-12, "steps": 1, "ema": 0.0})
    tuned = run(tmp_path / "tuned", still, start=first)
    name = "core.input_block.conv1.conv.weight"
    torch.testing.assert_close(weights(tuned)[name], weights(first)[name], rtol=0, atol=1e-6)
    scratch = run(tmp_path / "scratch", still)
    assert not torch.allclose(weights(scratch)[name], weights(first)[name], atol=1e-3)


def test_weights_of_other_outputs_are_refused(tmp_path: Path) -> None:
    other = task(labels=("bone",))
    state = build(other, PLAN).state_dict()
    save_model(tmp_path / "other", other, PLAN, state, CARD)
    with pytest.raises(InputError, match=r"don't fit.*\(2, 4, 1, 1\) there, \(3, 4, 1, 1\) here"):
        run(tmp_path / "m", start=tmp_path / "other")


def test_cuda_is_refused_where_there_is_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match="no CUDA device"):
        run(tmp_path, SHORT.model_copy(update={"device": "cuda"}))
