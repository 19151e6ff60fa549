import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("BONEKIT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the third-party data that is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip(f"third-party data not found at {DATA}; set BONEKIT_DATA to its folder")
    return DATA
