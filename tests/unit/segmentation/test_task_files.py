from pathlib import Path
from typing import Any

import pytest
import yaml

from bonekit.errors import InputError
from bonekit.segmentation.task_files import built_in_tasks, load_task, save_task

NAMES = [
    "bone_ct",
    "bone_metastases_ct",
    "dawm",
    "leg_muscle_dixon",
    "ms_lesions",
    "ms_new_lesions",
    "ultrasound_3d",
]
PLAIN: dict[str, Any] = {
    "name": "small",
    "description": "a small task",
    "channels": [{"name": "ct", "modality": "ct", "normalisation": "ct"}],
    "labels": {"background": 0, "bone": 1, "lesion": 2},
}
REGIONS = {"regions": {"bone": ["bone", "lesion"], "lesion": ["lesion"]}}


def test_built_in_tasks_are_all_there() -> None:
    assert sorted(built_in_tasks()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_task_written_is_the_task_read(name: str, tmp_path: Path) -> None:
    task = load_task(name)
    assert task.name == name
    save_task(task, tmp_path / "task.yaml")
    assert load_task(tmp_path / "task.yaml") == task


def test_outputs_are_labels_in_order_or_regions() -> None:
    assert load_task("dawm").outputs == ("background", "nawm", "dawm", "lesion")
    bone = load_task("bone_metastases_ct")
    assert bone.outputs == ("bone", "lesion")
    assert not bone.exclusive
    assert bone.dims == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"colour: Extra inputs.*\nallowed at the top: name, description"),
        ({"labels": {"background": 0, "bone": 2}}, "without a gap"),
        ({"labels": {"bone": 0, "lesion": 1}}, "background: 0"),
        ({"views": ["volume", "axial"]}, "two networks"),
        ({"channels": []}, "channels"),
        ({"channels": PLAIN["channels"] * 2}, "same name"),
        ({"metrics": {"lesions": ["tumour"]}}, "tumour: not among the labels"),
        ({"clean": [{"label": "background"}]}, "background is what is left"),
        (REGIONS, "regions need region_order"),
        ({**REGIONS, "region_order": ["bone"]}, "one label per region"),
        ({**REGIONS, "region_order": ["bone", "bone"]}, "no part of it"),
        (
            {"regions": {"bone": ["bone", "lesion"]}, "region_order": ["bone"]},
            "region_order never writes lesion",
        ),
        ({"spacing_mm": [1, 1, 0]}, r"spacing_mm\.2"),
    ],
)
def test_wrong_entries_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(PLAIN | change))
    with pytest.raises(InputError, match=message):
        load_task(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalisation": "rescale"}, "rescale needs the values"),
        ({"values": [5, 5]}, "values must rise"),
        ({"modality": "mri"}, "ct normalisation is for"),
    ],
)
def test_wrong_channels_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(PLAIN | {"channels": [PLAIN["channels"][0] | change]}))
    with pytest.raises(InputError, match=message):
        load_task(path)


def test_unknown_tasks_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no task 'bone'; did you mean bone_ct\?.*ultrasound_3d"):
        load_task("bone")
    (tmp_path / "task.yaml").write_text("a: [")
    with pytest.raises(InputError, match="neither YAML nor JSON"):
        load_task(tmp_path / "task.yaml")
    (tmp_path / "task.yaml").write_text("- 1")
    with pytest.raises(InputError, match="whole"):
        load_task(tmp_path / "task.yaml")
