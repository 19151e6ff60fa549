"""A finished run for other solvers: as a deck, as tetrahedra, or on somebody else's mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.case import Case, parse_case
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.fem.cement import loaded_mesh
from bonekit.fem.deck_reading import ForeignMesh, read_deck
from bonekit.fem.deck_rewriting import with_materials
from bonekit.fem.decks import (
    Bins,
    Hardening,
    Representative,
    bin_moduli,
    deck_writer,
    export_deck,
    export_mesh,
    write_deck,
)
from bonekit.fem.hardening import perfect_plasticity
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.loaded_deck import PMMA, loaded_deck
from bonekit.fem.tissue import Assigned, LesionPolicy, assign, of_image, partition
from bonekit.image.volume import LabelMap
from bonekit.lesions import find_lesions, lesion_map, numbers_at
from bonekit.meshing.bone import bone_of
from bonekit.meshing.columns import WithParts
from bonekit.meshing.conserve import bone_image
from bonekit.meshing.fitted_parts import Part, fitted_parts
from bonekit.meshing.interchange import write_mesh
from bonekit.meshing.sampling import Mesh
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.tetra import tetra_mesh
from bonekit.pipeline.kept import ash_of, case_of, problem_of
from bonekit.resolve import loading_of, tissue_of
from bonekit.runfolder import RunFolder
from bonekit.segmentation.base import BONE_REGIONS, PARTS, Segmentation
from bonekit.storage import load_segmentation

Float = NDArray[np.float64]
Int = NDArray[np.int64]

FIELDS = (".vtu", ".xdmf", ".msh")  # meshes with fields, no decks
FAR_MM = 5.0  # from the bone, the middle of an element that should be bone


@dataclass(frozen=True, eq=False)
class Bone:
    """What a run folder holds of a bone that does not rest on its mesh.

    Parameters
    ----------
    folder : RunFolder
    segmentation : Segmentation
    ash : DensityImage
    labels : LabelMap
        On the grid of the density.
    """

    folder: RunFolder
    segmentation: Segmentation
    ash: DensityImage
    labels: LabelMap

    def moduli(
        self,
        mesh: Mesh,
        region: NDArray[np.integer[Any]],
        centres_mm: Float,
        *,
        whole: bool = True,
    ) -> Assigned:
        """Give the elements of any mesh of this bone the moduli that its case asks for.

        Parameters
        ----------
        mesh : VoxelMesh, TetMesh, or (nodes_mm, cells)
        region : ndarray of int, (n_elements,)
            Label of each element.
        centres_mm : ndarray of float, (n_elements, 3)
        whole : bool
            Whether the mesh fills all of the bone, so that its mineral must be the bone's.
        """
        case = case_of(self.folder)
        lesions = find_lesions(self.labels, self.ash)
        number = numbers_at(centres_mm, lesion_map(self.labels, lesions)) if lesions else None
        names = {v: n for v, n in self.labels.names.items() if n in BONE_REGIONS}
        tissue = tissue_of(case, self.segmentation.bone)
        parts = partition(tissue, region, names, lesions, number)
        image = bone_image(self.ash, bone_of(self.segmentation), mesh, conserve=whole)
        return assign(parts, of_image(image, mesh, case.material.mapping))


def bone_in(folder: str | Path) -> Bone:
    """Read the bone of a run folder.

    Raises
    ------
    InputError
        If the folder holds no finished density.
    """
    run = RunFolder.of(folder, ("segment", "calibrate", "density"))
    segmentation, _ = load_segmentation(run.path)
    ash = ash_of(run)
    return Bone(run, segmentation, ash, segmentation.labels.resample(ash.grid))


def export_run(folder: str | Path, out: str | Path, bins_MPa: float = 50.0) -> Bins:
    """Write the model of a finished run as a deck: mesh, materials, sets, supports, load.

    Parameters
    ----------
    folder : str or Path
        Run folder.
    out : str or Path
        .inp, .cdb, .feb, .bdf, .med (with .comm).
    bins_MPa : float
        Width of the bins of Young's modulus.

    Raises
    ------
    InputError
        If the folder holds no solved run, or there is no such deck.
    """
    deck_writer(out)
    run = RunFolder.of(folder, ("segment", "calibrate", "density", "mesh"))
    return export_deck(problem_of(run, case_of(run)).model, out, bins_MPa)


def export_tetrahedra(
    folder: str | Path,
    out: str | Path,
    edge_mm: float,
    order: Literal[1, 2] = 1,
    bins_MPa: float = 50.0,
    parts: Sequence[Part] = (),
    *,
    load: bool | str = True,
    distal: str | None = None,
    plastic: bool = False,
    surface_voxels: float = 0.5,
) -> tuple[TetMesh, Float, Bins]:
    """Mesh the bone of a run with tetrahedra and write them as a deck that can be solved.

    The deck has the materials, regions, interfaces, patches, supports and load of the run: see
    `loaded_deck`.

    Parameters
    ----------
    folder, bins_MPa
        See `export_run`.
    out : str or Path
        A deck, see `export_run`; or .vtu, .xdmf, .msh with the field E_MPa, not binned.
    edge_mm : float
    order : 1 or 2
        Tetrahedra of 4 or 10 nodes.
    parts : sequence of str
        Of bone cement, see `fitted_parts`: the run's load then acts on their flat faces.
    load : bool or str
        Whether the deck has the load of the run; False: no step, coordinates in the world (LPS).
        Or the name of another load, see `load_of`.
    distal : str, optional
        How that other load holds the distal shaft.
    surface_voxels : float
        How far regions may lie off their labels, see `tetra_mesh`.
    plastic : bool
        Bone yields at the strength of the case's law, see `perfect_plasticity`.

    Returns
    -------
    mesh : TetMesh
    E_MPa : ndarray of float, (n_elements,)
        Before binning.
    bins : Bins

    Raises
    ------
    InputError
        If the folder holds no finished mesh (with a load) or density, or what is asked for does
        not suit the bone.
    """
    fields = Path(out).suffix.lower() in FIELDS
    if not fields:
        deck_writer(out)
    bone = bone_in(folder)
    case = case_of(bone.folder)
    hardening = (
        _hardening(case, bone.segmentation.bone, bool(load) and not fields) if plastic else None
    )
    on_axes = load_of(bone, load, distal)
    made = parts_on(bone.segmentation, parts, on_axes[0] if on_axes else None)
    mesh = tetra_mesh(
        made.labels,
        edge_mm,
        (*BONE_REGIONS, *PARTS.values()),
        order=order,
        surface_voxels=surface_voxels,
    )
    E = _moduli_beside_parts(bone, mesh)
    nu = case.material.nu
    if fields:
        write_mesh(mesh, out, {"E_MPa": E})
        return mesh, E, bin_moduli(E, bins_MPa)
    if on_axes is None:
        return mesh, E, export_mesh(mesh, E, nu, out, bins_MPa)
    anatomy = bone.segmentation.anatomy
    deck, bins = loaded_deck(mesh, E, nu, anatomy, *on_axes, made.parts, bins_MPa, hardening)
    write_deck(deck, out)
    return mesh, E, bins


def load_of(
    bone: Bone, load: bool | str, distal: str | None = None
) -> tuple[LoadCase, Float] | None:
    """Load case of a bone with the axes along which it is simple, or None without a load.

    Parameters
    ----------
    bone : Bone
        Of a run with a finished mesh.
    load : bool or str
        True: that of the run. A name: with its numbers as the case states them for one of its
        loads, else with the defaults.
    distal : str, optional
        How that named load holds the distal shaft, instead.

    Raises
    ------
    InputError
        If there is no such load, or it is none of this bone.
    """
    if not load:
        return None
    case, run = case_of(bone.folder), RunFolder.of(bone.folder.path, ("mesh",))
    if load is True:
        problem = problem_of(run, case)
        return problem.load, problem.model.mesh.grid.direction
    own = [one for one in (case.load, *case.more_loads) if one is not None and one.case == load]
    stated = own[0].model_dump(mode="json", exclude_unset=True) if own else {}
    content = {**stated, "case": load} | ({} if distal is None else {"distal": distal})
    settings = parse_case({"load": content}, "of --load").load
    segmentation, field = load_segmentation(run.path)
    loading = loading_of(settings, segmentation.bone, case.patient.mass_kg)
    mesh = loaded_mesh(segmentation, loading, case.mesh.edge_mm, field)
    return loading.on(mesh, segmentation.anatomy, field), mesh.grid.direction


def _hardening(case: Case, bone: str, load: bool) -> Hardening:
    tissue = tissue_of(case, bone)
    if not load or tissue.regions or tissue.lesions != LesionPolicy():
        raise InputError(
            "plasticity needs a deck with a load, and one law for all regions and lesions: a "
            "material holds elements of a modulus, not of a region"
        )
    return perfect_plasticity(tissue.law)


def parts_on(
    segmentation: Segmentation, parts: Sequence[Part], load: LoadCase | None = None
) -> WithParts:
    """Fit parts on a segmented bone; a femur is cut as `bone_mesh` cuts it.

    Parameters
    ----------
    segmentation : Segmentation
    parts : sequence of str
        See `fitted_parts`, also for errors.
    load : LoadCase, optional
        A cup faces its force; so does, in a fall, a pad.
    """
    labels, anatomy = segmentation.labels, segmentation.anatomy
    kept = bone_of(segmentation).array > 0
    bone = labels.mask(*(name for name in labels.names.values() if name in BONE_REGIONS))
    labels = labels.with_array(np.where(bone & ~kept, 0, labels.array).astype(labels.array.dtype))
    if load is None or not isinstance(anatomy, FemurAnatomy):
        return fitted_parts(labels, anatomy, parts)
    ground = -load.direction if load.name == "sideways_fall" else None
    return fitted_parts(labels, anatomy, parts, load.direction, ground)


def labels_with_parts(folder: str | Path, parts: Sequence[Part]) -> LabelMap:
    """Labels of a run's bone, cut where its mesh ends, with parts that fit it.

    Raises
    ------
    InputError
        If the folder holds no segmentation, or see `fitted_parts`.
    """
    run = RunFolder.of(folder, ("segment",))
    return parts_on(load_segmentation(run.path)[0], parts).labels


def _moduli_beside_parts(bone: Bone, mesh: TetMesh) -> Float:
    """Young's modulus of each element: the case's in bone, that of cement in the parts."""
    inside = ~np.isin(mesh.region, list(PARTS))
    own = (mesh.nodes_mm, mesh.elements[inside])
    E = np.full(mesh.n_elements, PMMA.E_MPa)
    E[inside] = bone.moduli(own, mesh.region[inside], mesh.centres_mm[inside]).elastic.E_MPa
    return E


def map_onto(
    folder: str | Path,
    deck: str | Path,
    out: str | Path,
    element_set: str | None = None,
    bins_MPa: float = 50.0,
    representative: Representative = "mean",
) -> tuple[ForeignMesh, Bins]:
    """Give the elements of a deck made elsewhere the materials of a run's bone.

    All else in the deck stays, byte for byte: what Bonemat does. The deck must lie in the frame
    of the scan (LPS, mm).

    Parameters
    ----------
    folder : str or Path
        Run folder.
    deck, out : str or Path
        Both .inp or both .cdb.
    element_set : str, optional
        Only its elements are bone; by default all solids of the deck.
    bins_MPa, representative
        See `bin_moduli`.

    Raises
    ------
    InputError
        If the deck can't be read, the set is unknown, or elements lie more than 5 mm from the
        bone.
    """
    bone, mesh = bone_in(folder), read_deck(deck)
    ids, E = [], []
    for kind, cells in mesh.elements.items():
        chosen = _members(mesh, kind, element_set)
        if not chosen.any():
            continue
        part = (mesh.nodes_mm, cells[chosen])
        centres = mesh.nodes_mm[cells[chosen][:, : 8 if kind == "hexahedron" else 4]].mean(axis=1)
        region = _nearest_region(bone.labels, centres)
        E.append(bone.moduli(part, region, centres, whole=False).elastic.E_MPa)
        ids.append(mesh.element_ids[kind][chosen])
    nu = case_of(bone.folder).material.nu
    numbers, moduli = np.concatenate(ids), np.concatenate(E)
    return mesh, with_materials(deck, out, numbers, moduli, nu, bins_MPa, representative)


def _members(mesh: ForeignMesh, kind: str, element_set: str | None) -> NDArray[np.bool_]:
    ids = mesh.element_ids[kind]
    if element_set is None:
        return np.ones(len(ids), dtype=bool)
    known = {name.upper(): members for name, members in mesh.element_sets.items()}
    if element_set.upper() not in known:
        raise InputError(
            f"{mesh.path.name} has no element set {element_set!r}; it has: "
            f"{', '.join(mesh.element_sets) or 'none'}"
        )
    return np.isin(ids, known[element_set.upper()])


def _nearest_region(labels: LabelMap, centres_mm: Float) -> Int:
    """Label of the bone voxel nearest to each point.

    Raises
    ------
    InputError
        If points lie far from the bone.
    """
    bone = labels.mask(*(name for name in labels.names.values() if name in BONE_REGIONS))
    distance, nearest = ndimage.distance_transform_edt(
        ~bone, sampling=labels.spacing_mm.tolist(), return_indices=True
    )
    index = np.rint(labels.grid.index(centres_mm)).astype(np.int64)
    inside = tuple(np.clip(index, 0, np.array(labels.shape) - 1).T)
    beyond = (index < 0) | (index >= np.array(labels.shape))
    far = (distance[inside] > FAR_MM) | beyond.any(axis=1)
    if far.any():
        place = np.round(centres_mm[far.argmax()], 1).tolist()
        raise InputError(
            f"{np.count_nonzero(far)} of {len(far)} elements lie more than {FAR_MM:g} mm from the "
            f"bone (first: at {place} mm). Is the deck in the frame of the scan (LPS, mm)? If "
            "only a part of it is bone, name its element set"
        )
    return np.asarray(labels.array[tuple(axis[inside] for axis in nearest)], dtype=np.int64)
