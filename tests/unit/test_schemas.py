import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from bonekit.errors import InputError
from bonekit.schemas import label_table, schema_of, write_schemas
from bonekit.segmentation.base import LABELS
from bonekit.segmentation.task_files import built_in_tasks

COMMITTED = Path(__file__).resolve().parents[2] / "data_schema"


def test_committed_files_are_those_of_the_models(tmp_path: Path) -> None:
    for made in write_schemas(tmp_path):
        kept = COMMITTED / made.name
        assert kept.read_text(encoding="utf-8") == made.read_text(encoding="utf-8"), (
            f"{kept.name} is out of date: run `python -m bonekit.schemas data_schema`"
        )


@pytest.mark.parametrize("name", ["case", "result", "task", "plan"])
def test_schema_is_valid_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema_of(name))
    assert schema_of(name)["additionalProperties"] is False


def test_schema_says_what_pydantic_says() -> None:
    validator = Draft202012Validator(schema_of("case"))
    assert validator.is_valid({"bone": "femur_left", "mesh": {"edge_mm": 2}})
    assert not validator.is_valid({"mesh": {"edge_mm": 9}})
    assert not validator.is_valid({"bones": "femur_left"})


@pytest.mark.parametrize("name", sorted(built_in_tasks()))
def test_task_files_fit_their_schema(name: str) -> None:
    content = yaml.safe_load((COMMITTED / "tasks" / f"{name}.yaml").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema_of("task"))
    validator.validate(content)
    assert not validator.is_valid(content | {"colour": "red"})
    assert not validator.is_valid(content | {"views": ["oblique"]})


def test_unknown_schema_is_refused() -> None:
    with pytest.raises(InputError, match="no schema 'report'; there are: case, result, task, plan"):
        schema_of("report")


def test_label_table_lists_every_region() -> None:
    table = json.loads((COMMITTED / "labels.json").read_text(encoding="utf-8"))
    assert table == label_table()
    assert {entry["value"]: entry["name"] for entry in table["labels"]} == dict(LABELS)
