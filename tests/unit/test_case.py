import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError


def test_no_file_gives_the_defaults() -> None:
    case = read_case(None)
    assert case == Case()
    assert case.mesh.edge_mm == 1.5
    assert case.material.law == "keyak_2005"


@pytest.mark.parametrize("text", ["", "# all defaults\n"])
def test_empty_file_gives_the_defaults(tmp_path: Path, text: str) -> None:
    (tmp_path / "case.yaml").write_text(text)
    assert read_case(tmp_path / "case.yaml") == Case()


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    content = {"bone": "vertebra_L3", "mesh": {"edge_mm": 1}, "solver": {"threads": 2}}
    (tmp_path / "case.json").write_text(json.dumps(content))
    (tmp_path / "case.yaml").write_text(
        "bone: vertebra_L3\nmesh: {edge_mm: 1}\nsolver: {threads: 2}"
    )
    case = read_case(tmp_path / "case.yaml")
    assert case == read_case(tmp_path / "case.json")
    assert (case.bone, case.mesh.edge_mm, case.solver.threads) == ("vertebra_L3", 1.0, 2)


def test_case_survives_json() -> None:
    case = Case.model_validate({"segmentation": {"seed_mm": [1, 2, 3]}, "synthetic": True})
    assert parse_case(json.loads(case.model_dump_json()), "again") == case


def test_case_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Case().bone = "femur_left"


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        ({"bnoe": "femur_left"}, "bnoe: extra inputs are not permitted, found 'femur_left'"),
        ({"mesh": {"edge_mm": 0}}, "mesh.edge_mm: .* found 0"),
        ({"mesh": 3}, "mesh: .* found 3"),
        ({"material": {"nu": 0.5}}, "material.nu: .* less than 0.5, found 0.5"),
        ({"stance": {"case": "fall"}}, "stance.case: .*'single_leg_stance'.* found 'fall'"),
        ({"solver": {"threads": "many"}}, "solver.threads: .* found 'many'"),
        ({"stance": {"fixed_mm": float("inf")}}, "stance.fixed_mm: .*finite.* found inf"),
        ({"solver": {"rtol": 0.1}}, "solver.rtol: .* found 0.1"),
        ({"segmentation": {"seed_mm": [1, 2]}}, "segmentation.seed_mm.2: field required"),
    ],
)
def test_wrong_entry_is_named_with_what_was_found(content: dict[str, object], entry: str) -> None:
    message = f"(?s)1 wrong entry:\n  {entry}.*allowed at the top: bone"
    with pytest.raises(InputError, match=message):
        parse_case(content, "case.yaml")


def test_every_wrong_entry_is_listed() -> None:
    with pytest.raises(InputError, match=r"(?s)2 wrong entries.*mesh\.edge_mm.*colour"):
        parse_case({"mesh": {"edge_mm": -1}, "colour": "red"}, "case.yaml")


USER_LAW = {
    "name": "mine_2026",
    "kind": "apparent",
    "factor": 7000,
    "exponent": 1.5,
    "low_g_cm3": 0.01,
    "high_g_cm3": 2.2,
    "source": "our own tests",
}


def test_a_user_law_is_the_law() -> None:
    case = parse_case({"material": {"user_law": USER_LAW}}, "here")
    assert case.material.law == "mine_2026"
    assert case.material.user_law is not None
    assert case.material.user_law.offset == 0.0
    assert parse_case(json.loads(case.model_dump_json()), "again") == case
    assert parse_case(case.model_dump(mode="json", exclude_unset=True), "again") == case


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"law": "keller_1994"}, "law and user_law name two laws: leave 'keller_1994' out"),
        ({"user_law": {**USER_LAW, "factor": 0}}, "user_law.factor"),
        ({"user_law": {**USER_LAW, "kind": "wet"}}, "user_law.kind"),
        ({"user_law": {**USER_LAW, "source": ""}}, "user_law.source"),
        ({"user_law": {"name": "mine_2026"}}, "user_law.source"),
        ({"user_law": {k: v for k, v in USER_LAW.items() if k != "name"}}, "user_law.name"),
    ],
)
def test_a_wrong_user_law_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_case({"material": {"user_law": USER_LAW, **change}}, "here")
