"""Which law holds where: one for each region of a bone, and a policy for its lesions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.density import DensityImage, DensityKind, conversion
from bonekit.errors import InputError
from bonekit.fem.laws import Law, fixed_modulus
from bonekit.fem.mapping import Mapping as How
from bonekit.fem.mapping import element_modulus
from bonekit.fem.materials import Elasticity, elasticity
from bonekit.lesions import LESION, Lesion, LesionKind
from bonekit.meshing.sampling import Mesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import PARTS

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Tissue that is gone stays in the mesh as a very soft solid: removing it would change the mesh,
# could leave pieces without support, and would need the mesh again for every policy. A ball of 9 mm
# radius in a block of 400 MPa under 12 GPa plates: 0.1 MPa is 1.5e-5 stiffer than the ball removed
# (1 MPa: 1.5e-4), in as many iterations; 0.001 MPa takes four times as many. Elements this soft
# are marrow to the strain criterion and not judged.
VOID = fixed_modulus(0.1, "void", "bonekit: tissue that is gone, as a solid without stiffness")

Treatment = Law | Literal["density"]
Treated = Literal["density", "law", "fixed", "void"]
Moduli = Callable[[Int, Law], Elasticity]


@dataclass(frozen=True)
class LesionPolicy:
    """What lesions are made of. The most specific entry holds: by number, by kind, default.

    A treatment is ``"density"``, the law of the healthy bone at the density of the lesion, as
    Keyak 2005, Tanck 2009 and Derikx 2012 do; a law of its own; a constant, see `fixed_modulus`;
    or `VOID`.

    Parameters
    ----------
    default : Treatment
    by_kind : mapping of "lytic", "blastic" or "mixed" to Treatment
    by_number : mapping of int to Treatment
        Of `bonekit.lesions.Lesion.number`.
    """

    default: Treatment = "density"
    by_kind: Mapping[LesionKind, Treatment] = field(default_factory=dict)
    by_number: Mapping[int, Treatment] = field(default_factory=dict)

    def of(self, lesion: Lesion) -> Treatment:
        """Treatment of a lesion."""
        return self.by_number.get(lesion.number, self.by_kind.get(lesion.kind, self.default))


@dataclass(frozen=True)
class Tissue:
    """The laws of a bone.

    Parameters
    ----------
    law : Law
        Where no other is given.
    regions : mapping of str to Law
        Such as ``{"cortex": ...}``; lesions are a matter of the policy.
    lesions : LesionPolicy
    """

    law: Law
    regions: Mapping[str, Law] = field(default_factory=dict)
    lesions: LesionPolicy = field(default_factory=LesionPolicy)

    def __post_init__(self) -> None:
        if LESION in self.regions:
            raise InputError("the law of lesions is given by their policy, not as that of a region")


@dataclass(frozen=True, eq=False)
class Part:
    """Elements with one law.

    Parameters
    ----------
    name : str
        Of the region, or such as ``lesion 2 (lytic)``.
    law : Law
    treatment : str
        "density" for the law of healthy bone; of lesions also "law", "fixed" or "void".
    elements : ndarray of int, (n,)
        Rising.
    """

    name: str
    law: Law
    treatment: Treated
    elements: Int


@dataclass(frozen=True)
class PartCount:
    """What became of a part: see `Elasticity`."""

    name: str
    law: str
    treatment: Treated
    n_elements: int
    n_floor: int
    n_ceiling: int
    n_extrapolated: int | None


@dataclass(frozen=True, eq=False)
class Assigned:
    """Moduli of a bone of several laws.

    Parameters
    ----------
    elastic : Elasticity
        Of all elements; counts are sums over the parts that know them.
    parts : tuple of Part
    counts : tuple of PartCount
        In the order of the parts.
    part : ndarray of int, (n_elements,)
        Index of each element's part.
    """

    elastic: Elasticity
    parts: tuple[Part, ...]
    counts: tuple[PartCount, ...]
    part: Int


def partition(
    tissue: Tissue,
    region: NDArray[np.integer],
    names: Mapping[int, str],
    lesions: Sequence[Lesion] = (),
    number: NDArray[np.integer] | None = None,
) -> tuple[Part, ...]:
    """Sort elements by the law that holds for them; each is in exactly one part.

    Parameters
    ----------
    tissue : Tissue
    region : ndarray of int, (n_elements,)
        Label of each element.
    names : mapping of int to str
        Of the labels.
    lesions : sequence of Lesion
    number : ndarray of int, (n_elements,), optional
        Lesion of each element, see `bonekit.lesions.numbers_at`; read in the lesion region only.
        Without it all lesion elements are one part, treated by the default.

    Raises
    ------
    InputError
        If a law is given for a region, or a treatment for a lesion, that does not exist; if an
        element has no name or its lesion is unknown; if a policy by kind or number meets lesion
        elements that are not numbered.
    """
    _check_names(tissue, region, names, lesions)
    parts: list[Part] = []
    for value, name in names.items():
        elements = np.flatnonzero(region == value)
        if name == LESION:
            parts += _lesion_parts(tissue, elements, lesions, number)
        else:
            law = tissue.regions.get(name, tissue.law)
            kind: Treated = "fixed" if value in PARTS else "density"  # cement has no density
            parts.append(Part(name, law, kind, elements))
    return tuple(part for part in parts if len(part.elements))


def _check_names(
    tissue: Tissue,
    region: NDArray[np.integer],
    names: Mapping[int, str],
    lesions: Sequence[Lesion],
) -> None:
    unknown = sorted(set(tissue.regions) - set(names.values()))
    if unknown:
        raise InputError(
            f"a law is given for {', '.join(unknown)}; regions of the mesh: "
            f"{', '.join(names.values())}"
        )
    nameless = sorted(set(np.unique(region).tolist()) - set(names))
    if nameless:
        raise InputError(f"elements of region {nameless} have no name, so no law")
    numbers = [lesion.number for lesion in lesions]
    missing = sorted(set(tissue.lesions.by_number) - set(numbers))
    if missing:
        raise InputError(
            f"a treatment is given for lesion {', '.join(map(str, missing))}; found: "
            f"{', '.join(map(str, numbers)) or 'no lesion'}"
        )


def _lesion_parts(
    tissue: Tissue,
    elements: Int,
    lesions: Sequence[Lesion],
    number: NDArray[np.integer] | None,
) -> list[Part]:
    policy = tissue.lesions
    if number is None:
        if len(elements) and (policy.by_kind or policy.by_number):
            raise InputError(
                f"{len(elements)} elements of lesions are not numbered, so a policy by kind or "
                "number can't be applied; see bonekit.lesions: find_lesions, numbers_at"
            )
        return [_treated(LESION, tissue.law, policy.default, elements)]
    of_element = number[elements]
    stray = np.setdiff1d(of_element, [lesion.number for lesion in lesions])
    if len(stray):
        raise InputError(f"elements belong to lesion {stray.tolist()}, which is not listed")
    return [
        _treated(
            f"{LESION} {lesion.number} ({lesion.kind})",
            tissue.law,
            policy.of(lesion),
            elements[of_element == lesion.number],
        )
        for lesion in lesions
    ]


def _treated(name: str, law: Law, treatment: Treatment, elements: Int) -> Part:
    if treatment == "density":
        return Part(name, law, "density", elements)
    kind: Treated = "void" if treatment is VOID else "fixed" if treatment.constant else "law"
    return Part(name, treatment, kind, elements)


def assign(parts: Sequence[Part], moduli: Moduli) -> Assigned:
    """Give every element its modulus.

    Parameters
    ----------
    parts : sequence of Part
        That together hold every element once.
    moduli : callable
        Of elements and a law: `of_density` or `of_image`. Constants are set without it.
    """
    n_elements = sum(len(part.elements) for part in parts)
    E, index = np.empty(n_elements), np.empty(n_elements, dtype=np.int64)
    made: list[Elasticity] = []
    for n, part in enumerate(parts):
        found = _constant(part) if part.law.constant else moduli(part.elements, part.law)
        E[part.elements], index[part.elements] = found.E_MPa, n
        made.append(found)
    counts = tuple(_count(part, found) for part, found in zip(parts, made, strict=True))
    return Assigned(_together(E, made, parts), tuple(parts), counts, index)


def _constant(part: Part) -> Elasticity:
    return Elasticity(part.law.modulus(np.zeros(len(part.elements))), 0, 0)


def _count(part: Part, found: Elasticity) -> PartCount:
    clamped = (found.n_floor, found.n_ceiling, found.n_extrapolated)
    return PartCount(part.name, part.law.name, part.treatment, len(part.elements), *clamped)


def _together(E: Float, made: Sequence[Elasticity], parts: Sequence[Part]) -> Elasticity:
    known = [one.n_extrapolated for one in made if one.n_extrapolated is not None]
    mapped = [one.mapping for one, part in zip(made, parts, strict=True) if not part.law.constant]
    return Elasticity(
        E,
        sum(one.n_floor for one in made),
        sum(one.n_ceiling for one in made),
        sum(known) if known else None,
        mapped[0] if mapped else "density",
    )


def of_density(density: Float, kind: DensityKind) -> Moduli:
    """Moduli at the mean density of each element.

    Parameters
    ----------
    density : ndarray of float, (n_elements,)
        g/cm3, of all elements.
    kind : DensityKind
        Each law gets the kind it asks for, see `bonekit.density.conversion`.
    """

    def moduli(elements: Int, law: Law) -> Elasticity:
        line = conversion(kind, law.kind)
        return elasticity(line(density[elements]), line.wanted, law)

    return moduli


def of_image(density: DensityImage, mesh: Mesh, how: How = "modulus") -> Moduli:
    """Moduli from the image by one of the ways of `bonekit.fem.mapping`.

    Parameters
    ----------
    density : DensityImage
        Of the bone alone, see `bonekit.meshing.conserve.bone_image`: what it conserves depends on
        all elements, so that it can't be made for each part.
    mesh : VoxelMesh, TetMesh, or (nodes_mm, cells)
    how : {"modulus", "density", "centroid", "nodal"}
    """

    def moduli(elements: Int, law: Law) -> Elasticity:
        return element_modulus(density, _some(mesh, elements), law, how=how)

    return moduli


def _some(mesh: Mesh, elements: Int) -> Mesh:
    """Take some elements of a mesh, in the order of their numbers."""
    if isinstance(mesh, VoxelMesh):
        region = np.zeros_like(mesh.region)
        at = tuple(mesh.element_ijk[elements].T)
        region[at] = mesh.region[at]
        return replace(mesh, region=region)
    nodes, cells = mesh if isinstance(mesh, tuple) else (mesh.nodes_mm, mesh.world_elements)
    return nodes, np.asarray(cells)[elements]
