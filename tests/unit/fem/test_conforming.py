"""The parent of the conforming engine: interpreters found, children watched, errors named."""

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem import conforming_problem, dolfinx_linear, interpreters
from bonekit.fem.caps import RigidCap
from bonekit.fem.child import (
    BrokenMPIError,
    DivergenceError,
    SolverCrashError,
    SolverMemoryError,
    SolverTimeoutError,
)
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import (
    ElasticSupport,
    HexMesh,
    pressure_load,
)
from bonekit.fem.conforming_problem import memory_bytes
from bonekit.fem.dolfinx_log import Failure
from bonekit.fem.interpreters import (
    Interpreter,
    SolverMissingError,
    child_environment,
    choose,
    find_interpreters,
)
from bonekit.fem.model import Constraint, Load, Mesh, Model
from bonekit.fem.rigid import HeldCap, check_held
from bonekit.fem.solve import solve
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import BRICK_CORNERS

needs_dolfinx = [
    pytest.mark.dolfinx,
    pytest.mark.skipif(
        not find_interpreters(), reason="dolfinx not found: apt-get install python3-dolfinx-real"
    ),
]
posix = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are shell scripts")
ALL = np.arange(8)


def cube(**changes: object) -> Model[Mesh]:
    """One brick, pressed by a third of its height."""
    given = {
        "mesh": HexMesh(BRICK_CORNERS.astype(float), ALL[None]),
        "E_MPa": np.array([100.0]),
        "nu": 0.0,
        "constraints": (
            Constraint("bottom", ALL[:4]),
            Constraint("top", ALL[4:], (2,), -0.1),
        ),
    }
    return Model(**{**given, **changes})  # type: ignore[arg-type]


def stand_in(folder: Path, script: str) -> Interpreter:
    """An interpreter that is a shell script: $1 is the solver, $2 the folder."""
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Interpreter(str(path), "0.0", "0.0", "No MPI 0")


@posix
@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("kill -SEGV $$", SolverCrashError, "crashed.*SIGSEGV"),
        ("kill -KILL $$", SolverMemoryError, "killed.*memory ran out"),
        ("echo '{\"begin\": \"assembly\"}' > $2/log.jsonl; kill -ABRT $$", SolverCrashError,
         "stage 'assembly'.*SIGABRT"),
        ("echo some complaint >&2; exit 1", SolverCrashError, "status 1.*some complaint"),
        ("exit 0", SolverCrashError, "status 0"),
        ('echo \'{"kind": "diverged", "text": "DIVERGED_MAX_IT (-3)", "history": [1, 0.5]}\''
         " > $2/failure.json; exit 3",
         DivergenceError, r"DIVERGED_MAX_IT.*of 2: 1.0e\+00, 5.0e-01"),
        ('echo \'{"kind": "memory", "text": "", "history": []}\' > $2/failure.json; exit 3',
         SolverMemoryError, "ran out of memory"),
        ('echo \'{"kind": "error", "text": "KeyError: 1", "history": []}\' > $2/failure.json;'
         " exit 3", SolverCrashError, "KeyError: 1"),
        ('echo \'{"kind": "packages", "text": "need pyamg", "history": []}\' > $2/failure.json;'
         " exit 3", InputError, "need pyamg"),
    ],
)  # fmt: skip
def test_a_child_that_fails_is_named(
    tmp_path: Path, script: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        solve_conforming(cube(), interpreter=stand_in(tmp_path, script))
    if error is DivergenceError:
        with pytest.raises(ConvergenceError) as told:
            solve_conforming(cube(), interpreter=stand_in(tmp_path, script))
        assert told.value.history == (1, 0.5)  # type: ignore[attr-defined]


@posix
def test_a_child_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    slow = stand_in(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(SolverTimeoutError, match=r"within 0.5 s.*timeout_s"):
        solve_conforming(cube(), interpreter=slow, timeout_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "zombie" in status.read_text()


@posix
def test_a_launcher_that_fails_is_called_broken_mpi(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "exit 0")
    (tmp_path / "mpiexec").write_text("#!/bin/sh\necho no daemon >&2\nexit 213\n")
    (tmp_path / "mpiexec").chmod(0o755)
    with pytest.raises(BrokenMPIError, match=r"did not start 2 processes.*no daemon.*processes=1"):
        solve_conforming(cube(), interpreter=python, processes=2)


@posix
def test_nothing_is_lost_when_a_later_solve_fails(tmp_path: Path) -> None:
    before = b"the last good result"
    (tmp_path / "result.npz").write_bytes(before)
    with pytest.raises(SolverCrashError):
        solve_conforming(cube(), interpreter=stand_in(tmp_path, "kill -SEGV $$"), folder=tmp_path)
    assert (tmp_path / "result.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("echo null", r"has no dolfinx\. On Debian.*conda create.*BONEKIT_DOLFINX_PYTHON.*voxel"),
        ("echo ImportError: libmpi.so >&2; exit 1", "does not work.*status 1: ImportError: libmpi"),
        ("sleep 9", "no answer within"),
    ],
)
@posix
def test_missing_or_broken_dolfinx_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: str, words: str
) -> None:
    monkeypatch.setattr(interpreters, "_TIMEOUT_S", 0.5)
    python = stand_in(tmp_path, probe).path
    with pytest.raises(SolverMissingError, match=words):
        choose(python)
    monkeypatch.setenv("BONEKIT_DOLFINX_PYTHON", python)
    assert find_interpreters() == ()


@posix
def test_interpreters_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({"dolfinx": "0.9.0", "petsc": "", "mpi": "MPICH 4.2.0"})
    python = stand_in(tmp_path, f"echo x >> {tmp_path}/asked\necho '{answer}'").path
    monkeypatch.setenv("BONEKIT_DOLFINX_PYTHON", python)
    [found] = find_interpreters()
    assert (found.path, found.dolfinx, found.mpi) == (python, "0.9.0", "MPICH 4.2.0")
    assert str(found) == "dolfinx 0.9.0, PETSc absent, MPICH 4.2.0"
    assert choose() == found
    assert (tmp_path / "asked").read_text() == "x\n"


def test_the_child_does_not_see_the_parents_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/somewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = child_environment()
    assert "PYTHONHOME" not in found
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["OMPI_MCA_hwloc_base_binding_policy"] == "none"
    assert child_environment({})["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"E_MPa": np.ones(2)}, r"\(2,\) moduli for a mesh of 1"),
        ({"E_MPa": np.array([np.nan])}, "not a positive"),
        ({"nu": 0.5}, "between -1 and 0.5"),
        ({"nu": np.array([0.3, 0.3])}, r"\(2,\) Poisson's ratios"),
        ({"constraints": ()}, "no constraint, support or cap"),
        ({"constraints": (Constraint("b", ALL[:4]), Constraint("b", ALL[4:]))}, "different names"),
        ({"loads": (Load("hip", np.array([9]), np.ones((1, 3))),)}, "'hip' names a node"),
        ({"mesh": HexMesh(np.zeros((6, 3)), np.arange(6)[None])}, "4 or 10 nodes or hexahedra"),
    ],
)
def test_bad_models_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        cube(**changes)


@pytest.mark.parametrize("n", [4, 8])
def test_elements_turned_inside_out_are_refused(n: int) -> None:
    if n == 8:
        mesh: Mesh = HexMesh(BRICK_CORNERS.astype(float), ALL[None, [4, 5, 6, 7, 0, 1, 2, 3]])
    else:
        corners = np.vstack([np.zeros(3), np.eye(3)])
        mesh = TetMesh(corners, np.array([[0, 2, 1, 3]]), np.ones(1, dtype=np.uint8), {1: "bone"})
    held = (Constraint("b", ALL[:3]),)
    with pytest.raises(InputError, match=r"1 of 1 elements have no volume .* \(elements 0\)"):
        solve_conforming(cube(mesh=mesh, constraints=held, loads=()))


@pytest.mark.parametrize("stray", [8, -1])
def test_elements_of_nodes_that_are_not_there_are_refused(stray: int) -> None:
    mesh = HexMesh(BRICK_CORNERS.astype(float), np.array([[0, 1, 2, 3, 4, 5, 6, stray]]))
    with pytest.raises(InputError, match=r"1 of 1 elements name nodes beyond the 8 .*element 0"):
        solve_conforming(cube(mesh=mesh, loads=()), interpreter="unasked")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rtol": np.inf}, "rtol must lie between 0 and 1 .*got inf"),
        ({"rtol": np.nan}, "rtol must lie between 0 and 1 .*got nan"),
        ({"max_iterations": 0}, "got 1e-08 and 0"),
        ({"method": "lu"}, "method 'lu' is unknown; known: auto, cg, direct"),
        ({"processes": 0}, "one process or more"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        solve_conforming(cube(), interpreter="unasked", **settings)


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ((Constraint("b", ALL[:4], (2,)),), r"3 of its 6.*translation along.*rotation about"),
        ((Constraint("b", ALL[:2]),), r"1 of its 6 rigid-body motions: rotation about \(1, 0, 0\)"),
        ((Constraint("b", ALL[:4]), Constraint("t", ALL[3:], (2,), 1.0)), "'b' and 't' prescribe"),
        ((Constraint("b", ALL[:4], displacement_mm=np.nan),), "not a finite number"),
    ],
)
def test_loose_models_are_refused(constraints: tuple[Constraint, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        solve_conforming(cube(constraints=constraints), interpreter="unasked")


CAP = RigidCap("cup", ALL[4:], np.array([0.5, 0.5, 1.0]), (None, None, -0.1))
STILL = (0.0, 0.0, 0.0)
TURNS = replace(CAP, displacement_mm=(None, None, None), rotation_rad=(0.0, None, 0.0))


@pytest.mark.parametrize(
    ("held", "caps", "words"),
    [
        ((), (CAP,), "5 of its 6 rigid-body motions"),
        ((), (replace(CAP, displacement_mm=STILL),), "3 of its 6.*rotation about"),
        ((), (replace(CAP, rotation_rad=STILL),), "2 of its 6.*translation along"),
        ((Constraint("b", ALL[:1]),), (TURNS,),
         "1 of its 6.*rotation about"),
        ((Constraint("b", ALL[:5]),), (CAP,), "1 nodes of cap 'cup' are also held by a constraint"),
        ((), (replace(CAP, force_N=(1.0, 0.0, 0.0)), replace(CAP, name="cap")), "'cap'.*'cup'"),
    ],
)  # fmt: skip
def test_caps_that_leave_a_motion_free_are_refused(
    held: tuple[Constraint, ...], caps: tuple[RigidCap, ...], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        solve_conforming(cube(constraints=held, caps=caps), interpreter="unasked")


def test_a_cap_holds_pieces_together() -> None:
    nodes = np.vstack([BRICK_CORNERS, BRICK_CORNERS + 5]).astype(float)
    elements = np.stack([ALL, ALL + 8])
    held = np.zeros((16, 3), dtype=bool)
    held[:4] = True
    both = HeldCap(np.array([4, 5, 8, 9]), np.zeros(3), np.zeros((2, 3), dtype=bool))
    check_held(nodes, elements, held, [both])
    with pytest.raises(InputError, match="1 of 2 elements float"):
        check_held(nodes, elements, held)


def test_the_voxel_engine_refuses_other_meshes() -> None:
    with pytest.raises(InputError, match=r"not a HexMesh; bonekit.fem.conforming.solve_conforming"):
        solve(cube())  # type: ignore[arg-type]


def test_floating_pieces_and_stray_forces_are_refused() -> None:
    nodes = np.vstack([BRICK_CORNERS, BRICK_CORNERS + 5, [[9, 9, 9]]]).astype(float)
    two = HexMesh(nodes, np.stack([ALL, ALL + 8]))
    with pytest.raises(InputError, match="1 of 2 elements float: 1 of 2 pieces"):
        solve_conforming(cube(mesh=two, E_MPa=np.ones(2)), interpreter="unasked")
    stray = Load("hip", np.array([8]), np.ones((1, 3)))
    one = HexMesh(nodes[:9], ALL[None])
    with pytest.raises(InputError, match="1 nodes that no element"):
        solve_conforming(cube(mesh=one, loads=(stray,)), interpreter="unasked")


def test_a_model_too_large_for_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # measured: 1.68 GB, and at 1.48 million unknowns 3.23 GB, of two processes 3.80 GB
    assert 1.68e9 < memory_bytes(174_915, 4) < 1.9e9
    assert 3.23e9 < memory_bytes(493_075, 10) < 3.6e9
    assert 3.80e9 < memory_bytes(493_075, 10, 2) < 4.6e9
    monkeypatch.setattr(conforming_problem, "memory_bytes", lambda *sizes: 1e18)
    with pytest.raises(InputError, match=r"24 unknowns and needs about 931322574.6 GiB"):
        solve_conforming(cube(), interpreter="unasked")


def test_elastic_supports_are_checked() -> None:
    with pytest.raises(InputError, match="'bed' has a stiffness that is not 0 or more"):
        ElasticSupport("bed", ALL, -1.0)
    with pytest.raises(InputError, match=r"\(2, 3\) for 8 nodes"):
        ElasticSupport("bed", ALL, np.ones((2, 3)))


def test_without_petsc_and_pyamg_only_small_systems_are_solved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyamg", None)
    A = sparse.diags_array([1.0, 2.0, 4.0])
    x, _ = dolfinx_linear.pyamg_solver(A, None, {})(np.array([1.0, 1.0, 1.0]), 1e-8)
    np.testing.assert_allclose(x, [1.0, 0.5, 0.25])
    large = sparse.coo_array((60_000, 60_000))
    with pytest.raises(Failure, match=r"60000 unknowns.*pip install pyamg"):
        dolfinx_linear.pyamg_solver(large, None, {})


@pytest.mark.parametrize("k", [3, 4, 6])
def test_pressure_on_a_slanted_plane(k: int) -> None:
    """Sum and moment are those of pressure times area at the centroid."""
    corners = np.array([[0, 0, 0], [2, 0, 1], [2, 3, 1], [0, 3, 0.0]])
    nodes = corners[:4] if k == 4 else corners[[0, 1, 2]]
    if k == 6:
        nodes = np.vstack([nodes, (nodes + np.roll(nodes, -1, axis=0)) / 2])
    load = pressure_load("p", nodes, np.arange(k)[None], 2.0)
    area = np.cross(corners[1], corners[3]) / (1 if k == 4 else 2)
    np.testing.assert_allclose(load.force_N.sum(axis=0), -2.0 * area, atol=1e-12)
    centroid = corners.mean(axis=0) if k == 4 else corners[[0, 1, 2]].mean(axis=0)
    moment = np.cross(nodes[load.nodes], load.force_N).sum(axis=0)
    np.testing.assert_allclose(moment, np.cross(centroid, -2.0 * area), atol=1e-12)
    if k == 6:
        np.testing.assert_allclose(load.force_N[:3], 0, atol=1e-12)  # the corners carry nothing


def test_pressure_needs_known_faces() -> None:
    with pytest.raises(InputError, match="3, 4 or 6 nodes, got 5"):
        pressure_load("p", np.zeros((5, 3)), np.arange(5)[None], 1.0)


class TestSolver:
    """With dolfinx itself."""

    pytestmark = needs_dolfinx

    def test_a_brick_on_springs(self) -> None:
        """Two springs in series: the brick's 100 N/mm and the bed's 4 x 25 N/mm."""
        bed = ElasticSupport("bed", ALL[:4], np.array([1.0, 1.0, 25.0]))
        top = (Constraint("top", ALL[4:], (2,), -0.1),)
        s = solve_conforming(cube(constraints=top, supports=(bed,)), 1e-12)
        assert s.reaction_N["bed"][2] == pytest.approx(5.0, rel=1e-9)
        assert s.reaction_N["top"][2] == pytest.approx(-5.0, rel=1e-9)
        assert s.energy_Nmm == pytest.approx(0.5 * 0.1 * 5.0, rel=1e-9)
        assert s.energy_balance < 1e-12
        assert s.strain[0, 2] == pytest.approx(-0.05, rel=1e-9)
        assert s.stress_MPa[0, 2] == pytest.approx(-5.0, rel=1e-9)
        assert s.peak_MB > 10
        assert "solve" in s.seconds

    def test_a_result_is_read_again_and_another_model_solved_anew(self, tmp_path: Path) -> None:
        first = solve_conforming(cube(), folder=tmp_path)
        dead = Interpreter("/no/such/python", "", "", "")
        again = solve_conforming(cube(), folder=tmp_path, interpreter=dead)
        np.testing.assert_array_equal(again.displacement_mm, first.displacement_mm)
        with pytest.raises(SolverMissingError, match="could not be started"):
            solve_conforming(cube(nu=0.2), folder=tmp_path, interpreter=dead)
        kept = solve_conforming(cube(), folder=tmp_path, interpreter=dead)
        assert kept.energy_Nmm == first.energy_Nmm

    def test_too_few_iterations_name_the_reason_and_the_history(self) -> None:
        seen: list[tuple[int, float]] = []
        nodes = np.vstack([BRICK_CORNERS, BRICK_CORNERS[4:] + np.eye(3, dtype=int)[2]]).astype(
            float
        )
        tall = HexMesh(nodes, np.stack([ALL, ALL + 4]))
        held = (Constraint("bottom", ALL[:4]), Constraint("top", ALL[4:] + 4, (2,), -0.1))
        model = cube(mesh=tall, E_MPa=np.array([1.0, 1e3]), nu=0.3, constraints=held)
        options = {"pc_type": "none"}
        with pytest.raises(DivergenceError, match=r"DIVERGED_(MAX_IT|ITS) \(-3\)") as told:
            solve_conforming(
                model, 1e-12, method="cg", max_iterations=2, petsc_options=options,
                progress=lambda n, r: seen.append((n, r)),
            )  # fmt: skip
        assert len(told.value.history) >= 2
        assert [n for n, _ in seen] == [1, 2]

    def test_one_flat_tetrahedron_is_an_error(self) -> None:
        nodes = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])
        mesh = TetMesh(nodes, np.arange(4)[None], np.ones(1, np.uint8))
        held = (Constraint("b", np.arange(3)),)
        load = Load("p", np.array([3]), np.ones((1, 3)))
        with pytest.raises(InputError, match="no volume"):
            solve_conforming(cube(mesh=mesh, constraints=held, loads=(load,)))
