"""The command line: ``bonekit --help`` teaches it.

Heavy libraries are imported inside the commands, so that help and `info` answer at once.
Exit codes: 0 done, 1 the run failed, 2 bad arguments or input.
"""

from __future__ import annotations

import logging
import os
import sys

from cyclopts import CycloptsError

from bonekit.cli import (
    decks,
    density,
    info,
    meshes,
    patient,
    seg,
    seg_evaluate,
    seg_models,
    synthetic,
)
from bonekit.cli.app import app
from bonekit.errors import CalibrationError, ConvergenceError, InputError, MeshQualityError

__all__ = [
    "app",
    "decks",
    "density",
    "info",
    "main",
    "meshes",
    "patient",
    "seg",
    "seg_evaluate",
    "seg_models",
    "synthetic",
]

log = logging.getLogger("bonekit")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(_code(arguments))


def _code(arguments: list[str] | None) -> int:
    # threads that spin while they wait slow each other down tenfold where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except (InputError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (CalibrationError, MeshQualityError, ConvergenceError, MemoryError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 1
    except Exception:
        log.exception("an error that bonekit did not foresee; please report it")
        return 1
    return 0
