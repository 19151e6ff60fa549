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
    assert case.material.law is None


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
        ({"load": {"case": "jump"}}, "load: .*'single_leg_stance'.* found"),
        ({"solver": {"threads": "many"}}, "solver.threads: .* found 'many'"),
        (
            {"load": {"case": "single_leg_stance", "fixed_mm": float("inf")}},
            "load.single_leg_stance.fixed_mm: .*finite.* found inf",
        ),
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
    "pieces": [{"factor": 7000, "exponent": 1.5}],
    "low_g_cm3": 0.01,
    "high_g_cm3": 2.2,
    "source": "our own tests",
}


def test_a_law_of_the_user() -> None:
    case = parse_case({"material": {"law": "mine_2026", "laws": [USER_LAW]}}, "here")
    (law,) = case.material.laws
    assert (law.pieces[0].offset, law.pieces[0].from_g_cm3) == (0.0, 0.0)
    assert parse_case(json.loads(case.model_dump_json()), "again") == case
    assert parse_case(case.model_dump(mode="json", exclude_unset=True), "again") == case


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ({"pieces": [{"factor": 0}]}, "pieces.0.factor"),
        ({"pieces": []}, "pieces"),
        ({"kind": "HU"}, "kind"),
        ({"source": ""}, "source"),
        ({"name": ""}, "name"),
        ({"factor": 7000}, "factor"),
    ],
)
def test_a_wrong_law_of_the_user_is_refused(change: dict, entry: str) -> None:
    with pytest.raises(InputError, match=f"material.laws.0.{entry}"):
        parse_case({"material": {"laws": [{**USER_LAW, **change}]}}, "here")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"treatment": "law"}, "`law` goes with `treatment: law`"),
        ({"treatment": "void", "law": "keyak_2005"}, "`law` goes with `treatment: law`"),
        ({"treatment": "modulus"}, "`e_mpa` goes with `treatment: modulus`"),
        ({"E_MPa": 10.0}, "`e_mpa` goes with `treatment: modulus`"),
        ({"treatment": "hole"}, "'density', 'law', 'modulus' or 'void'"),
    ],
)
def test_a_wrong_treatment_of_a_lesion_is_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"lytic.*{message}"):
        parse_case({"material": {"lesions": {"lytic": given}}}, "here")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "rods"}, "calibration.rods: .*either a table or densities_g_cm3"),
        ({"method": "rods", "densities_g_cm3": [0, 0.1]}, "give kind with densities_g_cm3"),
        ({"method": "rods", "table": "qrm_bdc_3", "kind": "ash"}, "only with them"),
        ({"method": "guess"}, "'line', 'rods', 'internal'"),
        ({"slope": 0.0008, "intercept": 0.0}, "calibration.line.kind"),
        (5, "'line', 'rods', 'internal'"),
    ],
)
def test_a_wrong_way_of_calibration_is_refused(given: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_case({"calibration": given}, "here")


def test_a_bare_line_is_a_calibration_by_a_line() -> None:
    given = {"slope": 0.0008, "intercept": 0.0, "kind": "ash", "source": "our scanner"}
    assert parse_case({"calibration": given}, "here") == parse_case(
        {"calibration": {"method": "line", **given}}, "here"
    )
