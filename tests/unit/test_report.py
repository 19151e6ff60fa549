"""The report: what it says, when it warns, and that it stands alone."""

import base64
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bonekit.errors import InputError
from bonekit.report import bone_name, number, render, rows, without_folders, write_report
from bonekit.result import (
    DISCLAIMER,
    Balance,
    CalibrationResult,
    CalibrationSample,
    CorticalResult,
    InputRecord,
    LesionResult,
    MaterialResult,
    MeshResult,
    Method,
    MineralRegion,
    MineralResult,
    MirelsResult,
    Remark,
    Result,
    StageRecord,
    StrengthErrorResult,
    TissueResult,
    VertebralResult,
)

# As base64 it has slashes that look like folders.
PNG = b"\x89PNG\r\n\x1a\n" + random.Random(0).randbytes(20_000)
VOID = {"meta", "img", "br", "link", "hr", "input"}


def method(name: str, **parameters: Any) -> Method:
    return Method(
        name=name, description=f"What {name} is.", source="Author 2020", parameters=parameters
    )


def line(**changes: Any) -> CalibrationResult:
    fields: dict[str, Any] = {
        "calibrated": True,
        "method": "rods",
        "slope_g_cm3_per_HU": 0.00079,
        "intercept_g_cm3": -0.0123,
        "covariance": None,
        "kind": "ash",
        "source": "rods of 2024",
        "range_HU": None,
        "kVp": None,
        "kernel": None,
        "evidence": {},
        "samples": (),
        "n_bone_voxels": 2000,
        "n_below_range": None,
        "n_above_range": None,
        "ash_error_g_cm3": None,
    }
    return CalibrationResult(**(fields | changes))


def material(**changes: Any) -> MaterialResult:
    cortex = TissueResult(
        region="cortex", law="keyak_2005", treatment="density", n_elements=58540,
        n_floor=70, n_ceiling=33, n_extrapolated=None,
    )  # fmt: skip
    part = MineralRegion(mask_g=42.0, mesh_g=42.42, mask_density_g_cm3=0.9, mesh_density_g_cm3=0.91)
    mass = MineralResult(image_g=44.0, mask_g=42.0, mesh_g=42.42, regions={"cortex": part})
    fields: dict[str, Any] = {
        "law": method("keyak_2005"),
        "other_laws": (),
        "tissues": (cortex,),
        "mapping": "modulus",
        "cortex": {"method": "as_seen"},
        "nu": 0.3,
        "ash_density_g_cm3": {"min": 0.0, "mean": 0.41, "max": 1.21},
        "E_MPa": {"min": 5.0, "mean": 3210.0, "max": 17654.0},
        "n_floor": 77,
        "n_ceiling": 33,
        "n_extrapolated": None,
        "mineral": mass,
    }
    return MaterialResult(**(fields | changes))


def made(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "bonekit_version": "0.0.1",
        "bone": "femur_right",
        "synthetic": False,
        "strength_N": 4321.6,
        "criterion": method("yield_strain", share_percent=2.0),
        "load_case": method("single_leg_stance", adduction_deg=8.0, force_N=1000.0),
        "stiffness_N_mm": 2345.6,
        "applied_force_N": 1000.0,
        "reaction_N": {"distal_shaft": (12.5, -7.25, 991.0)},
        "strength_error": None,
        "calibration": line(),
        "material": material(),
        "lesions": (),
        "mesh": MeshResult(
            edge_mm=1.5,
            n_elements=58540,
            n_nodes=64321,
            volume_ml=197.0,
            label_volume_ml=198.0,
            region_volume_ml={"lesion": 3.21},
        ),
        "balance": Balance(residual=3e-9, force_balance=2e-10, energy_balance=5e-9, iterations=41),
        "segmentation_method": "baseline 1",
        "measures": {"shaft_length_mm": 71.5},
        "remarks": (),
        "scan": {"kVp": 120, "kernel": "B30f", "spacing_mm": [0.7, 0.7, 1.5]},
        "inputs": (InputRecord(role="scan", sha256="ab" * 32),),
        "stages": (StageRecord(name="solve", seconds=12.34, peak_memory_MB=512.0, reused=False),),
        "versions": {"numpy": "2.4.6"},
    }
    return Result(**(fields | changes))


class Page(HTMLParser):
    """Checks the nesting of tags and collects attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)
        if tag in {"td", "th", "p", "b"}:
            self.words += " "

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words += data


def words(**changes: Any) -> str:
    return re.sub("[ \n]+", " ", Page(render(made(**changes), {})).words)


def test_tags_are_balanced_and_tables_have_headers() -> None:
    page = Page(render(made(), {"overlay": PNG, "strain": PNG}))
    assert not page.wrong
    assert not page.open
    count = [tag for tag, _ in page.seen]
    assert count.count("h1") == 1
    assert count.count("table") == count.count("caption") >= 8
    assert all(attrs.get("scope") for tag, attrs in page.seen if tag == "th")
    assert dict(page.seen)["html"]["lang"] == "en"


def test_the_page_stands_alone() -> None:
    text = render(made(), {"overlay": PNG, "my_figure": PNG})
    page = Page(text)
    for tag, attrs in page.seen:
        assert tag not in {"script", "link", "iframe", "object", "a"}
        assert "href" not in attrs
        assert (attrs.get("src") or "data:").startswith("data:")
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"https?://|file:", text)


def test_figures_are_whole_and_described() -> None:
    text = render(made(), {"extra_view": PNG, "strain": PNG, "overlay": PNG})
    images = [attrs for tag, attrs in Page(text).seen if tag == "img"]
    assert len(images) == 3
    assert all(image["alt"] for image in images)
    assert [base64.b64decode((i["src"] or "").split(",")[1]) for i in images] == [PNG] * 3
    order = [text.index(name) for name in ("Segmentation</h3>", "Where it", "Extra view</h3>")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "told",
    [
        "Right femur",
        "4.32 kN",
        "Strength 4\u202f322 N",
        "2\u202f346 N/mm",
        "Load case: single leg stance",
        "Criterion: yield strain",
        "What yield_strain is.",
        "Source: Author 2020",
        "adduction 8 °",
        "distal shaft 12.5 \u22127.25 991",
        "density = 0.00079 g/cm³ per HU · HU \u2212 0.0123 g/cm³",
        "rods of 2024",
        "min 5, mean 3\u202f210, max 17\u202f654 MPa",
        "77 of 58\u202f540 (0.1%)",
        "33 of 58\u202f540",
        "Modulus of an element mean of the law over the element",
        "Correction of the cortex none: as the scanner shows it",
        "cortex keyak 2005 as healthy bone 58\u202f540 103 not known",
        "In the image 44 g",
        "42.42 g",
        "+1.0%",
        "Cortex 42 g in voxels, 42.42 g on the mesh Mean density 0.9 and 0.91 g/cm³.",
        "mesh: \u22120.5%",
        "Volume of lesion 3.21 ml",
        "64\u202f321",
        "Residual 3.0e-09 yes",
        "Force balance 2.0e-10 yes",
        "41 iterations",
        "baseline 1",
        "shaft length 71.5 mm",
        "kVp 120 kVp",
        "spacing 0.7, 0.7, 1.5 mm",
        "ab" * 32,
        "solve 12.3 512 no",
        "numpy 2.4.6",
        DISCLAIMER,
    ],
)
def test_the_page_tells(told: str) -> None:
    assert told in words()


def test_the_error_bar_stands_beside_the_strength() -> None:
    assert "(95 %)" not in words()
    error = StrengthErrorResult(
        rests_on="calibration",
        standard_error_N=400.0,
        low_N=3601.0,
        high_N=5186.0,
        strengths_N=(4000.0, 4700.0),
    )
    text = words(strength_error=error)
    assert "4.32 kN 3.60 to 5.19 kN (95 %)" in text
    assert "The interval holds what the calibration leaves open, and nothing else" in text
    moved = error.model_copy(update={"moved_N": (4100.0, 4200.0, 4300.0)})
    told = "what the calibration and the place of the bricks leave open, and nothing else"
    assert told in words(strength_error=moved)


def test_what_a_calibration_rests_on_is_shown() -> None:
    sample = CalibrationSample(name="adipose", mean_HU=-104.3, sem_HU=0.52, residual_g_cm3=0.0021)
    found = line(
        method="internal",
        covariance=((1.5625e-10, 0.0), (0.0, 4e-6)),
        range_HU=(-104.0, 1400.0),
        n_below_range=20,
        n_above_range=100,
        ash_error_g_cm3=0.0123,
        kVp=120.0,
        kernel="B30f",
        evidence={"effective_energy_keV": 71.5, "R2": 0.9991},
        samples=(sample,),
    )
    text = words(calibration=found)
    for told in (
        "Calibrated yes the patient's own tissues",
        "slope 1.6%, intercept 0.002 g/cm³",
        "Error of the bone's mean ash density 0.0123 g/cm³",
        "\u2212104 to 1\u202f400 HU",
        "Bone voxels below it 20 of 2\u202f000 (1.0%)",
        "Bone voxels above it 100 of 2\u202f000 (5.0%)",
        "Measured at 120 kVp, kernel B30f",
        "effective energy 71.5 keV",
        "adipose -104.3 0.52 +2.1",
    ):
        assert told in text


def test_lesions_are_listed() -> None:
    lesion = LesionResult(
        number=1, kind="lytic", volume_ml=2.21, centre_mm=(-128.3, 5.26, -45.2),
        ash_density_g_cm3=0.107, healthy_g_cm3=None,
    )  # fmt: skip
    assert "1 lytic 2.21 0.107 none \u2212128, 5, \u221245" in words(lesions=(lesion,))
    assert "Lesions" not in words()
    assert "Where the lesions lie" not in words(lesions=(lesion,))


def test_places_of_lesions_are_told_as_far_as_they_are_known() -> None:
    known = LesionResult(
        number=1, kind="lytic", volume_ml=2.21, centre_mm=(0.0, 0.0, 0.0),
        ash_density_g_cm3=0.107, healthy_g_cm3=None, region="neck",
        regions={"head": 0.3, "neck": 0.65, "intertrochanteric": 0.05}, axial_mm=(12.2, 31.9),
        sector="inferior",
        cortical=CorticalResult(axial_mm=31.4, circumference=0.18, width=0.4, error_mm=2.0),
        mirels=MirelsResult(site=3, kind=3, size=2, pain=None, score=None),
    )  # fmt: skip
    assert (
        "1 Neck 65%, Head 30% Inferior 12 to 32 31 \N{PLUS-MINUS SIGN} 2 18% 40% "
        "site 3, kind 3, size 2, pain not given"
    ).lower() in words(lesions=(known,)).lower()
    more = {"mirels": MirelsResult(site=2, kind=1, size=1, pain=2, score=6)}
    assert "pain 2: 6 of 12" in words(lesions=(known.model_copy(update=more),))
    unknown = {"region": "body", "regions": {"body": 1.0}, "axial_mm": None, "sector": "central"}
    less = known.model_copy(update=unknown | {"cortical": None, "mirels": None})
    told = words(lesions=(less,)).lower()
    assert "1 body central not known not known not known not known none" in told


def test_parts_of_a_vertebra_are_told() -> None:
    taken = VertebralResult(
        body=0.31, circumference=0.42, posterior_wall=0.5, left_pedicle=0.75, right_pedicle=None,
        left_arch=0.2, right_arch=0.0, posterolateral="unilateral",
    )  # fmt: skip
    lesion = LesionResult(
        number=1, kind="lytic", volume_ml=2.21, centre_mm=(0.0, 0.0, 0.0),
        ash_density_g_cm3=0.107, healthy_g_cm3=None, region="body", vertebral=taken,
    )  # fmt: skip
    told = words(lesions=(lesion,))
    assert "1 31% 42% 50% 75% / - 20% / 0% unilateral" in told
    both = taken.model_copy(update={"right_arch": 0.2, "posterolateral": "bilateral"})
    together = words(lesions=(lesion,), level=both)
    assert "all 31% 42% 50% 75% / - 20% / 20% bilateral 1 31%" in together
    assert "Spinal Instability" not in words(
        lesions=(lesion.model_copy(update={"vertebral": None}),)
    )


@pytest.mark.parametrize("synthetic", [True, False])
@pytest.mark.parametrize("calibrated", [True, False])
def test_banners_stand_when_and_only_when_they_apply(synthetic: bool, calibrated: bool) -> None:
    line = made().calibration.model_copy(update={"calibrated": calibrated})
    text = words(synthetic=synthetic, calibration=line)
    assert ("SYNTHETIC DATA" in text) == synthetic
    assert ("UNCALIBRATED" in text) == (not calibrated)
    assert text.index(DISCLAIMER) < text.index("Strength 4")


def test_errors_come_before_warnings_before_notes_before_the_answer() -> None:
    found = [
        Remark(severity=severity, code=f"code-{severity}", message=f"This is the {severity}.")
        for severity in ("note", "warning", "error")
    ]
    text = words(remarks=tuple(found))
    order = [text.index(f"This is the {s}.") for s in ("error", "warning", "note")]
    assert order == sorted(order)
    assert order[-1] < text.index("kN", order[-1])
    assert "code-error" in text
    assert "Remarks" not in render(made(), {})


def test_html_is_escaped() -> None:
    evil = '<script>alert("x")</script>'
    remark = Remark(severity="note", code=evil, message=evil)
    text = render(
        made(remarks=(remark,), segmentation_method=evil, scan={evil: evil}, versions={evil: "1"}),
        {evil: PNG},
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6
    assert not Page(text).wrong


def test_a_large_imbalance_is_marked() -> None:
    bad = Balance(residual=2e-3, force_balance=1e-9, energy_balance=1e-9, iterations=9)
    assert "Residual 2.0e-03 NO" in words(balance=bad)
    assert " NO " not in words()


@pytest.mark.parametrize(
    "path",
    [
        "/home/doe_jane/scans/ct.nii.gz",
        "C:\\Users\\doe_jane\\scans\\ct.nii.gz",
        "~/doe_jane/ct.nii.gz",
        "../doe_jane/ct.nii.gz",
        "\\\\server\\doe_jane\\ct.nii.gz",
        "file:///data/doe_jane/ct.nii.gz",
    ],
)
def test_no_folder_reaches_the_page(path: str) -> None:
    remark = Remark(severity="note", code="read", message=f"Labels read from '{path}'.")
    text = render(made(remarks=(remark,), segmentation_method=f"imported ({path})"), {})
    assert "doe_jane" not in text
    assert text.count("ct.nii.gz") == 2


@pytest.mark.parametrize(
    "text", ["slope in g/cm3/HU", "and/or", "https://doi.org/10.1/xyz/abc", "3 / 4 / 5"]
)
def test_other_slashes_stay(text: str) -> None:
    assert without_folders(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (1234567, "1\u202f234\u202f567"),
        (0.0, "0"),
        (-2.5, "\u22122.5"),
        (12345.6, "12\u202f346"),
        (1.25e-5, "1.25e\u221205"),
        ((1, 2.5), "1, 2.5"),
        ({"a_b": 1}, "a b 1"),
        ("soft", "soft"),
        (None, "None"),
    ],
)
def test_numbers_are_readable(value: Any, text: str) -> None:
    assert number(value) == text


def test_units_come_from_the_name() -> None:
    named = rows({"volume_mm3": 2.0, "slope_g_cm3_per_HU": 0.5, "angle_deg": 3, "n_slices": 4})
    assert [row.value for row in named] == ["2 mm³", "0.5 g/cm³ per HU", "3 °", "4"]
    assert [row.name for row in named] == ["volume", "slope", "angle", "n slices"]


def test_bones_are_named_in_words() -> None:
    assert bone_name("femur_left") == "Left femur"
    assert bone_name("vertebra_L3") == "Vertebra L3"


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", made(), {})
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(made(), {})
    with pytest.raises(AttributeError):
        write_report(tmp_path / "broken.html", None, {})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "none" / "report.html", made(), {})
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
