"""Two processes, as `torchrun` starts them, end with the same weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
import test_train as t
from bonekit.segmentation.training import loop
from bonekit.segmentation.training.settings import TrainSettings

folder, ends = Path(sys.argv[2]), []
step = loop.Run._step
loop.Run._step = lambda self, batch: (ends.append(self), step(self, batch))[1]
t.run(folder, TrainSettings(steps=4, every=2, validation_batches=1, device="cpu"))
run = ends[-1]
torch.save([run.machine.network.state_dict(), run.now.best_dice], folder / f"end{run.here.rank}")
"""


@pytest.mark.slow
def test_two_processes_learn_the_same_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path)]
    both = [
        subprocess.Popen(command, env={**os.environ, **common, "RANK": r, "LOCAL_RANK": r})
        for r in "01"
    ]
    assert [one.wait(timeout=240) for one in both] == [0, 0]
    (first, dice), (second, other) = (
        torch.load(tmp_path / f"end{r}", weights_only=True) for r in (0, 1)
    )
    learned = [name for name in first if "running" not in name and "batches" not in name]
    assert all(torch.equal(first[name], second[name]) for name in learned)
    assert dice == other
    assert (tmp_path / "model.json").is_file()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
