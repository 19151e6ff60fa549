"""Tables of calibration phantoms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bonekit.calibration import TABLES, table_named, user_table
from bonekit.density import DensityKind
from bonekit.errors import InputError

TABLE = user_table((0.0, 0.05, 0.1, 0.2, 0.4), DensityKind.K2HPO4)


def test_every_table_says_where_it_comes_from() -> None:
    for name, table in TABLES.items():
        assert table is table_named(name)
        assert "Ogo" in table.source or "from memory" in table.source
        assert "not checked" in table.source
    with pytest.raises(InputError, match="there is no phantom 'osteo'; known: mindways_model_3"):
        table_named("osteo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"densities_g_cm3": (0.1,)}, "at least two"),
        ({"densities_g_cm3": (0.1, 0.1)}, "at least two"),
        ({"densities_g_cm3": (0.0, 200.0)}, "Is it in mg/cm3"),
        ({"water_g_cm3": (1.0,)}, "1 water densities for 5 rods"),
        ({"water_g_cm3": (1.0, 1.0, 1.0, 1.0, 1012.0)}, "Is it in mg/cm3"),
        ({"diameter_mm": 1.6}, "allowed: 5 to 50"),
    ],
)
def test_a_wrong_table_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TABLE, **change)
