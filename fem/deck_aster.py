"""Decks for Code_Aster: a mesh (.med) and its command file (.comm) beside it.

Commands as in the Code_Aster manuals U4 (quoted from memory: unverified; no Code_Aster ran them).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.deck import Deck, Float, Int, Material, check_length, deck_name
from bonekit.fem.deck_step import Step, distinct
from bonekit.image.writing import replacing
from bonekit.meshing.interchange import require_h5py, write_med

AXES = ("X", "Y", "Z")
DISPLACEMENTS = ("DX", "DY", "DZ", "DRX", "DRY", "DRZ")
FORCES = ("FX", "FY", "FZ", "MX", "MY", "MZ")
LIMIT = 24  # letters of a group
Groups = dict[str, Int]


def write_aster(deck: Deck, path: Path | str) -> None:
    """Write a mesh for Code_Aster and the command file that reads and solves it.

    Each of the two appears only when it is complete, the mesh first. Groups of cells are the
    materials MAT1, MAT2, ... and the element sets, groups of nodes the node sets and the nodes of
    the surfaces. What is prescribed node by node has a group for each value, STEP1_U1 and
    STEP1_F1 and so on. Elastic steps are solved with MECA_STATIQUE, plastic ones with
    STAT_NON_LINE. A rigid cap is LIAISON_SOLIDE with a node of its own, a discrete element with
    rotations; nodes on springs are discrete elements, with a group SPRING1, ... for each stiffness.

    Parameters
    ----------
    deck : Deck
    path : path
        Ending in .med; the command file gets the suffix .comm.

    Raises
    ------
    InputError
        If h5py is missing, or a name is longer than 24 letters.
    """
    require_h5py(".med")
    path = Path(path)
    check_length(deck, LIMIT, "Code_Aster")
    nodes = {**deck.all_node_sets}
    nodes |= {deck_name(name): distinct(deck.face_nodes(name).ravel()) for name in deck.surfaces}
    for number, step in enumerate(deck.steps, start=1):
        nodes |= {name: members for name, members, _ in _acting(number, step)}
    nodes |= {tie.pivot: np.array([n]) for n, tie in enumerate(deck.ties, start=deck.n_nodes)}
    nodes |= {name: members for name, members, _ in _springs(deck)}
    cells = {f"MAT{n}": members for n, members in enumerate(deck.members, start=1)}
    cells |= {deck_name(name): members for name, members in deck.element_sets.items()}
    with replacing(path.with_suffix(".comm")) as commands:
        text = "\n".join(_commands(deck, path.name)) + "\n"
        commands.write_text(text, encoding="ascii", errors="replace", newline="\n")
        with replacing(path) as temporary:
            points = np.vstack([deck.nodes_mm, *(tie.pivot_mm for tie in deck.ties)])
            write_med(temporary, points, deck.elements, nodes, cells)


def _acting(number: int, step: Step) -> list[tuple[str, Int, dict[str, float]]]:
    """Collect the nodes that are held or loaded alike, with their components."""
    node, component, value = step.held()
    table = np.full((node.max(initial=-1) + 1, 3), np.nan)
    table[node, component] = value
    held = np.unique(node)
    loaded, force = step.forces()
    parts = [("U", "D", held, table[held]), ("F", "F", loaded, force)]
    out = []
    for letter, prefix, nodes, values in parts:
        different, where = _alike(values)
        for i, row in enumerate(different):
            numbers = zip(AXES, row.tolist(), strict=True)
            acting = {f"{prefix}{axis}": x for axis, x in numbers if np.isfinite(x)}
            out.append((f"STEP{number}_{letter}{i + 1}", nodes[where == i], acting))
    return out


def _springs(deck: Deck) -> list[tuple[str, Int, Float]]:
    """Nodes on springs that are alike, and their stiffness along each axis."""
    parts = [step.springs() for step in deck.steps if step.supports]
    out: list[tuple[str, Int, Float]] = []
    for nodes, stiffness in parts:
        different, where = _alike(stiffness)
        out += [
            (f"SPRING{i}", nodes[where == i - 1], row) for i, row in enumerate(different, start=1)
        ]
    return out


def _alike(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Int]:
    """Distinct rows, NaN being one value, and which each row is."""
    filled = np.where(np.isnan(values), np.inf, values)
    different, where = np.unique(filled, axis=0, return_inverse=True)
    return different, where.ravel()


def _commands(deck: Deck, mesh_name: str) -> list[str]:
    out = [f"# {line}" for line in deck.head]
    out += [f"# The mesh: {mesh_name}, as logical unit 20.", "DEBUT(LANG='EN')", ""]
    out += [*_mesh_and_model(deck), ""]
    for number, material in enumerate(deck.materials, start=1):
        out += _material(number, material)
    out += ["field = AFFE_MATERIAU(", "    MAILLAGE=mesh,", "    AFFE=("]
    numbers = range(1, len(deck.materials) + 1)
    out += [f"        _F(GROUP_MA='MAT{n}', MATER=mat{n})," for n in numbers]
    # discrete elements have their stiffness, but a nonlinear step asks for a material all the same
    out += [f"        _F(GROUP_MA='{name}', MATER=mat1)," for name, *_ in _points(deck)]
    out += ["    ),", ")", ""]
    for number, step in enumerate(deck.steps, start=1):
        out += _load(number, step, deck) + _solve(number, deck)
    return [*out, "FIN()"]


def _points(deck: Deck) -> list[tuple[str, str, str, Float]]:
    """Discrete elements on nodes: group, kind of model, of stiffness, and the stiffness."""
    out = [(tie.pivot, "DIS_TR", "K_TR_D_N", np.zeros(6)) for tie in deck.ties]
    return out + [(name, "DIS_T", "K_T_D_N", stiffness) for name, _, stiffness in _springs(deck)]


def _mesh_and_model(deck: Deck) -> list[str]:
    affe = "_F(TOUT='OUI', PHENOMENE='MECANIQUE', MODELISATION='3D'),"
    points = _points(deck)
    if not points:
        return [
            "mesh = LIRE_MAILLAGE(FORMAT='MED', UNITE=20)",
            f"model = AFFE_MODELE(MAILLAGE=mesh, AFFE={affe[:-1]})",
        ]
    out = ["solids = LIRE_MAILLAGE(FORMAT='MED', UNITE=20)"]
    out += ["mesh = CREA_MAILLAGE(MAILLAGE=solids, CREA_POI1=("]
    out += [f"    _F(NOM_GROUP_MA='{name}', GROUP_NO='{name}')," for name, *_ in points]
    out += ["))", "model = AFFE_MODELE(MAILLAGE=mesh, AFFE=(", f"    {affe}"]
    for name, kind, *_ in points:
        out.append(f"    _F(GROUP_MA='{name}', PHENOMENE='MECANIQUE', MODELISATION='{kind}'),")
    out += ["))", "points = AFFE_CARA_ELEM(MODELE=model, DISCRET=("]
    for name, _, kind, stiffness in points:
        values = ", ".join(f"{x:.12e}" for x in stiffness)
        out.append(f"    _F(GROUP_MA='{name}', REPERE='GLOBAL', CARA='{kind}', VALE=({values})),")
    return [*out, "))"]


def _material(number: int, material: Material) -> list[str]:
    elastic = f"ELAS=_F(E={material.E_MPa:.12e}, NU={material.nu:.12e})"
    if not material.hardening:
        return [f"mat{number} = DEFI_MATERIAU({elastic})", ""]
    # TRACTION wants stress over total strain
    pairs = [(stress / material.E_MPa + strain, stress) for stress, strain in material.hardening]
    values = ", ".join(f"{x:.12e}" for pair in pairs for x in pair)
    return [
        f"curve{number} = DEFI_FONCTION(NOM_PARA='EPSI', NOM_RESU='SIGM', "
        f"PROL_DROITE='CONSTANT', VALE=({values}))",
        f"mat{number} = DEFI_MATERIAU({elastic}, TRACTION=_F(SIGM=curve{number}))",
        "",
    ]


def _load(number: int, step: Step, deck: Deck) -> list[str]:
    parts: dict[str, list[str]] = {"DDL_IMPO": [], "FORCE_NODALE": [], "LIAISON_SOLIDE": []}
    for name, _, acting in _acting(number, step):
        keyword = "DDL_IMPO" if "_U" in name else "FORCE_NODALE"
        parts[keyword].append(f"        _F(GROUP_NO='{name}', {_values(acting)}),")
    for tie in deck.ties:
        parts["LIAISON_SOLIDE"].append(f"        _F(GROUP_NO=('{tie.pivot}', '{tie.name}')),")
        for keyword, names, found in (
            ("DDL_IMPO", DISPLACEMENTS, tie.held),
            ("FORCE_NODALE", FORCES, tie.acting),
        ):
            values = _values({names[i]: value for i, value in found})
            parts[keyword] += [f"        _F(GROUP_NO='{tie.pivot}', {values}),"] if found else []
    out = [f"# step: {step.name}", f"load{number} = AFFE_CHAR_MECA(", "    MODELE=model,"]
    for keyword, rows in parts.items():
        out += [f"    {keyword}=(", *rows, "    ),"] if rows else []
    return [*out, ")"]


def _values(acting: dict[str, float]) -> str:
    return ", ".join(f"{key}={value:.12e}" for key, value in acting.items())


def _behaviour(deck: Deck) -> list[str]:
    """Name the law of each group: one with a curve hardens, all others are elastic."""
    out = [
        f"        _F(GROUP_MA='MAT{n}', RELATION='{'VMIS_ISOT_TRAC' if m.hardening else 'ELAS'}'),"
        for n, m in enumerate(deck.materials, start=1)
    ]
    return out + [f"        _F(GROUP_MA='{name}', RELATION='ELAS')," for name, *_ in _points(deck)]


def _solve(number: int, deck: Deck) -> list[str]:
    common = "MODELE=model, CHAM_MATER=field"
    common += ", CARA_ELEM=points" if _points(deck) else ""
    if not deck.plastic:
        solve = f"result{number} = MECA_STATIQUE({common}, EXCIT=_F(CHARGE=load{number}))"
        out = [solve]
    else:
        out = [
            f"ramp{number} = DEFI_FONCTION(NOM_PARA='INST', VALE=(0.0, 0.0, 1.0, 1.0))",
            f"times{number} = DEFI_LIST_REEL(DEBUT=0.0, INTERVALLE=_F(JUSQU_A=1.0, NOMBRE=10))",
            f"result{number} = STAT_NON_LINE(",
            f"    {common},",
            f"    EXCIT=_F(CHARGE=load{number}, FONC_MULT=ramp{number}),",
            "    COMPORTEMENT=(",
            *_behaviour(deck),
            "    ),",
            f"    INCREMENT=_F(LIST_INST=times{number}),",
            ")",
        ]
    more = f"reuse=result{number}, RESULTAT=result{number}"
    out += [f"result{number} = CALC_CHAMP({more}, CONTRAINTE='SIEF_ELNO', FORCE='REAC_NODA')"]
    return [*out, f"IMPR_RESU(FORMAT='MED', UNITE=80, RESU=_F(RESULTAT=result{number}))", ""]
