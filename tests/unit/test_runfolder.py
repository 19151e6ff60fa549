import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bonekit
from bonekit.errors import InputError
from bonekit.runfolder import (
    RunFolder,
    digest_of,
    digest_of_file,
    digest_of_files,
    measured,
    write_json,
)

FILES = {"first": ("a.txt", "b.txt"), "second": ("c.txt",)}


class Work:
    """Two stages that write their files and count how often they are done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[str] = []

    def go(self, first: object = 1, second: object = 2, text: str = "x") -> RunFolder:
        folder = RunFolder(self.path, FILES)
        folder.stage("first", first, self._writing("first", text))
        folder.stage("second", second, self._writing("second", text))
        return folder

    def _writing(self, name: str, text: str) -> Callable[[], None]:
        def work() -> None:
            self.done.append(name)
            for file in FILES[name]:
                (self.path / file).write_text(text)

        return work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path / "run")
    made.go()
    made.done.clear()
    return made


def test_done_stages_are_reused(work: Work) -> None:
    folder = work.go()
    assert work.done == []
    assert [d.reused for d in folder.done.values()] == [True, True]


def test_changed_input_redoes_its_stage_and_what_follows(work: Work) -> None:
    work.go(second=3)
    assert work.done == ["second"]
    work.done.clear()
    work.go(first=2, second=3)
    assert work.done == ["first", "second"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("y")])
def test_lost_or_changed_file_is_made_again(work: Work, spoil: Callable[[Path], None]) -> None:
    spoil(work.path / "b.txt")
    work.go()
    assert "first" in work.done
    assert (work.path / "b.txt").read_text() == "x"


def test_stage_rests_on_the_contents_of_those_before(work: Work) -> None:
    other = Work(work.path.with_name("other"))
    other.go(text="y")
    for file in (*FILES["first"], "stages/first.json"):
        (other.path / file).replace(work.path / file)
    work.go()
    assert work.done == ["second"]


def test_damaged_record_counts_as_none(work: Work) -> None:
    (work.path / "stages" / "second.json").write_text('{"name": "second", "ke')
    work.go()
    assert work.done == ["second"]


def test_other_version_of_bonekit_redoes_everything(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bonekit, "__version__", "0.0.0")
    work.go()
    assert work.done == ["first", "second"]


def test_stage_that_fails_leaves_neither_its_files_nor_later_ones(work: Work) -> None:
    def fail() -> None:
        (work.path / "a.txt").write_text("half")
        raise KeyboardInterrupt

    folder = RunFolder(work.path, FILES)
    with pytest.raises(KeyboardInterrupt):
        folder.stage("first", "other", fail)
    assert [p.name for p in (work.path / "stages").iterdir()] == []
    assert not (work.path / "c.txt").exists(), "made from files that are gone"
    work.go()
    assert work.done == ["first", "second"]


def test_stage_that_does_not_write_its_files_is_not_done(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", FILES)
    with pytest.raises(FileNotFoundError):
        folder.stage("first", 1, lambda: None)
    assert "first" not in folder.done


def test_recall_takes_a_stage_whatever_went_in(work: Work) -> None:
    assert RunFolder(work.path, FILES).recall("first").reused
    (work.path / "a.txt").write_text("y")
    with pytest.raises(InputError, match="no finished stage 'first'; start with `bonekit run`"):
        RunFolder(work.path, FILES).recall("first")


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no run folder but holds c\.txt"):
        RunFolder(tmp_path, FILES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.txt"]


def test_folder_with_unrelated_files_will_do(tmp_path: Path) -> None:
    (tmp_path / "slurm.out").write_text("mine")
    RunFolder(tmp_path, FILES)


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="can't make the run folder"):
        RunFolder(tmp_path / "run", FILES)


def test_log_of_bonekit_goes_to_the_folder_and_only_while_asked(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", FILES)
    with folder.working():
        logging.getLogger("bonekit.some.module").info("inside")
    logging.getLogger("bonekit").info("outside")
    text = (folder.path / "log.txt").read_text()
    assert "bonekit.some.module: inside" in text
    assert "outside" not in text


def test_second_run_in_the_folder_is_refused_until_the_first_is_over(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run", FILES), RunFolder(tmp_path / "run", FILES)
    with first.working(), pytest.raises(InputError, match="another run"), second.working():
        pass
    with second.working():
        pass


def test_measured_sees_the_peak_of_memory_and_the_time() -> None:
    with measured() as idle:
        time.sleep(0.1)
    with measured(every_s=0.01) as busy:
        block = np.ones(25_000_000)  # 200 MB
        time.sleep(0.2)
        del block
    assert busy.peak_MB - idle.peak_MB > 150
    assert 0.2 <= busy.seconds < 5


def test_digest_of_content_ignores_the_order_of_names() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.5})


def test_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_digest_of_a_folder_depends_on_contents_and_not_on_names(tmp_path: Path) -> None:
    for name, files in {"one": "abc", "two": "xyz"}.items():
        (tmp_path / name / "deep").mkdir(parents=True)
        for file, content in zip(files, b"123", strict=True):
            (tmp_path / name / "deep" / file).write_bytes(bytes([content]))
    assert digest_of_file(tmp_path / "one") == digest_of_file(tmp_path / "two")
    (tmp_path / "two" / "new").write_bytes(b"4")
    assert digest_of_file(tmp_path / "one") != digest_of_file(tmp_path / "two")
    inside = (tmp_path / "one" / "deep").iterdir()
    assert digest_of_files(inside) == digest_of_file(tmp_path / "one")


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1})
    before = (tmp_path / "a.json").read_text()
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"b": object()})
    assert (tmp_path / "a.json").read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
