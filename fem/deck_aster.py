"""Decks for Code_Aster: a mesh (.med) and its command file (.comm) beside it.

Commands as in the Code_Aster manuals U4 (quoted from memory: unverified; no Code_Aster ran them).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.deck import Deck, Int, Material, Step, check_length, deck_name, distinct
from bonekit.image.writing import replacing
from bonekit.meshing.interchange import require_h5py, write_med

AXES = ("X", "Y", "Z")
LIMIT = 24  # letters of a group
Groups = dict[str, Int]


def write_aster(deck: Deck, path: Path | str) -> None:
    """Write a mesh for Code_Aster and the command file that reads and solves it.

    Each of the two appears only when it is complete, the mesh first. Groups of cells are the
    materials MAT1, MAT2, ... and the element sets, groups of nodes the node sets and the nodes of
    the surfaces. What is prescribed node by node has a group for each value, STEP1_U1 and
    STEP1_F1 and so on. Elastic steps are solved with MECA_STATIQUE, plastic ones with
    STAT_NON_LINE.

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
    cells = {f"MAT{n}": members for n, members in enumerate(deck.members, start=1)}
    cells |= {deck_name(name): members for name, members in deck.element_sets.items()}
    with replacing(path.with_suffix(".comm")) as commands:
        text = "\n".join(_commands(deck, path.name)) + "\n"
        commands.write_text(text, encoding="ascii", errors="replace", newline="\n")
        with replacing(path) as temporary:
            write_med(temporary, deck.nodes_mm, deck.elements, nodes, cells)


def _acting(number: int, step: Step) -> list[tuple[str, Int, dict[str, float]]]:
    """Collect the nodes that are held or loaded alike, with their components."""
    node, component, value = step.held()
    table = np.full((node.max() + 1, 3), np.nan)
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


def _alike(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Int]:
    """Distinct rows, NaN being one value, and which each row is."""
    filled = np.where(np.isnan(values), np.inf, values)
    different, where = np.unique(filled, axis=0, return_inverse=True)
    return different, where.ravel()


def _commands(deck: Deck, mesh_name: str) -> list[str]:
    out = [f"# {line}" for line in deck.head]
    out += [f"# The mesh: {mesh_name}, as logical unit 20.", "DEBUT(LANG='EN')", ""]
    out += ["mesh = LIRE_MAILLAGE(FORMAT='MED', UNITE=20)"]
    affe = "_F(TOUT='OUI', PHENOMENE='MECANIQUE', MODELISATION='3D')"
    out += [f"model = AFFE_MODELE(MAILLAGE=mesh, AFFE={affe})", ""]
    for number, material in enumerate(deck.materials, start=1):
        out += _material(number, material)
    out += ["field = AFFE_MATERIAU(", "    MAILLAGE=mesh,", "    AFFE=("]
    numbers = range(1, len(deck.materials) + 1)
    out += [f"        _F(GROUP_MA='MAT{n}', MATER=mat{n})," for n in numbers]
    out += ["    ),", ")", ""]
    for number, step in enumerate(deck.steps, start=1):
        out += _load(number, step) + _solve(number, deck.plastic)
    return [*out, "FIN()"]


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


def _load(number: int, step: Step) -> list[str]:
    parts: dict[str, list[str]] = {"DDL_IMPO": [], "FORCE_NODALE": []}
    for name, _, acting in _acting(number, step):
        values = ", ".join(f"{key}={value:.12e}" for key, value in acting.items())
        keyword = "DDL_IMPO" if "_U" in name else "FORCE_NODALE"
        parts[keyword].append(f"        _F(GROUP_NO='{name}', {values}),")
    out = [f"# step: {step.name}", f"load{number} = AFFE_CHAR_MECA(", "    MODELE=model,"]
    for keyword, rows in parts.items():
        out += [f"    {keyword}=(", *rows, "    ),"] if rows else []
    return [*out, ")"]


def _solve(number: int, plastic: bool) -> list[str]:
    common = "MODELE=model, CHAM_MATER=field"
    if not plastic:
        solve = f"result{number} = MECA_STATIQUE({common}, EXCIT=_F(CHARGE=load{number}))"
        out = [solve]
    else:
        out = [
            f"ramp{number} = DEFI_FONCTION(NOM_PARA='INST', VALE=(0.0, 0.0, 1.0, 1.0))",
            f"times{number} = DEFI_LIST_REEL(DEBUT=0.0, INTERVALLE=_F(JUSQU_A=1.0, NOMBRE=10))",
            f"result{number} = STAT_NON_LINE(",
            f"    {common},",
            f"    EXCIT=_F(CHARGE=load{number}, FONC_MULT=ramp{number}),",
            "    COMPORTEMENT=_F(TOUT='OUI', RELATION='VMIS_ISOT_TRAC'),",
            f"    INCREMENT=_F(LIST_INST=times{number}),",
            ")",
        ]
    more = f"reuse=result{number}, RESULTAT=result{number}"
    out += [f"result{number} = CALC_CHAMP({more}, CONTRAINTE='SIEF_ELNO', FORCE='REAC_NODA')"]
    return [*out, f"IMPR_RESU(FORMAT='MED', UNITE=80, RESU=_F(RESULTAT=result{number}))", ""]
