import json
import subprocess
import sys

import pytest

import bonekit
from bonekit import environment


def test_versions_of_bonekit_and_its_libraries_are_told() -> None:
    found = environment.environment()
    assert found["bonekit"] == bonekit.__version__
    assert found["numpy"].count(".") >= 1
    assert json.loads(json.dumps(found)) == found


def test_absent_things_are_said_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "LIBRARIES", ("no-such-library",))
    monkeypatch.setenv("BONEKIT_DOLFINX_PYTHON", "/no/such/python")
    monkeypatch.setattr(environment, "_ask", lambda command: "")
    monkeypatch.setenv("PATH", "/nowhere")
    found = environment.environment()
    assert found["no-such-library"] == "not installed"
    assert found["cuda"] == found["calculix"] == "not found"
    assert found["dolfinx"].startswith("not found")


def test_tool_that_fails_or_hangs_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment._ask([sys.executable, "-c", "print('1.0')"]) == "1.0"
    assert environment._ask([sys.executable, "-c", "raise SystemExit(1)"]) == ""
    assert environment._ask(["/no/such/tool"]) == ""

    def hang(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("tool", 20)

    monkeypatch.setattr(subprocess, "run", hang)
    assert environment._ask(["tool"]) == ""
