"""Material laws at points: what they take, what they give, and their tensor algebra.

A law is a frozen set of parameters with one pure function, `Law.update`: strain increment and state
to stress, new state and consistent tangent. The code is the same for numpy arrays and torch
tensors, of any batch shape (...): strains and stresses (..., 6), parameters of a shape that
broadcasts against (...). Components are xx, yy, zz, xy, yz, xz; strains have engineering shear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bonekit.errors import InputError

Array: TypeAlias = Any  # numpy.ndarray or torch.Tensor of float64

_UNIT = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
_HALF = np.diag([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])  # engineering to tensor shear
_PAIRS = ((0, 1), (1, 2), (0, 2))


@dataclass(frozen=True, eq=False)
class State:
    """What a point remembers.

    Parameters
    ----------
    strain, plastic : array, (..., 6)
        Total and plastic strain.
    history : array, (..., 2)
        0 while the point has been elastic only. Plastic laws: accumulated plastic strain and 0;
        damage: the largest equivalent strains in tension and compression.
    """

    strain: Array
    plastic: Array
    history: Array

    def mapped(self, change: Callable[[Array], Array]) -> State:
        """Apply a function to each array."""
        return State(change(self.strain), change(self.plastic), change(self.history))


@dataclass(frozen=True, eq=False)
class Response:
    """What a law gives.

    Parameters
    ----------
    stress_MPa : array, (..., 6)
    state : State
    tangent_MPa : array, (..., 6, 6)
        Derivative of the stress by the strain increment.
    """

    stress_MPa: Array
    state: State
    tangent_MPa: Array


class MaterialLaw(Protocol):
    """What the solver needs of a law."""

    @property
    def E_MPa(self) -> Array:  # noqa: N802
        """Young's modulus before yield, broadcast over points."""

    @property
    def nu(self) -> float:
        """Poisson's ratio before yield."""

    @property
    def symmetric(self) -> bool:
        """Whether tangents are symmetric."""

    def update(self, increment: Array, state: State) -> Response:
        """Stress, new state and tangent after a strain increment, (..., 6)."""

    def surely_elastic(self, strain: Array) -> Array:
        """Where a point without history stays linear elastic at a strain: a bound, (...)."""

    def stored_energy(self, state: State) -> Array:
        """Recoverable energy density in MPa, (...)."""

    def damage(self, state: State) -> Array:
        """Loss of stiffness in tension and in compression, (..., 2); 0 for plastic laws."""

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        """Apply a function, such as an index or a transfer, to each array of parameters."""


@dataclass(frozen=True, eq=False)
class PointParameters:
    """Parameters of a law: floats, and arrays over the points that come first in the fields."""

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        """Apply a function, such as an index or a transfer, to each array of parameters."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {
            n: change(a) for n, a in arrays.items() if isinstance(a, np.ndarray) or _of_torch(a)
        }
        return replace(self, **kept)


def virgin(like: Array) -> State:
    """State before any load, for strains of the shape of ``like``, (..., 6)."""
    zero = namespace(like).zeros_like(like)
    return State(zero, zero, zero[..., :2])


def namespace(array: Array) -> Any:
    """Return the module, numpy or torch, whose functions take this array."""
    if not _of_torch(array):
        return np
    import torch

    return torch


def _of_torch(array: Array) -> bool:
    """Whether it is a tensor, told without torch: the solver's interpreter may lack it."""
    return type(array).__module__.split(".")[0] == "torch"


def constant(values: ArrayLike, like: Array) -> Array:
    """Put numbers in an array of the kind and device of another."""
    if _of_torch(like):
        import torch

        return torch.as_tensor(np.array(values), dtype=like.dtype, device=like.device)
    return np.asarray(values, dtype=like.dtype)


def outer(a: Array, b: Array) -> Array:
    """Outer product, (..., 6, 6), of (..., 6) and (..., 6)."""
    return a[..., :, None] * b[..., None, :]


def unit(like: Array) -> Array:
    """Make the unit tensor, (6,)."""
    return constant(_UNIT, like)


def deviatoric(like: Array) -> Array:
    """Projection of strains with engineering shear to tensor deviators, (6, 6)."""
    return constant(_HALF - np.outer(_UNIT, _UNIT) / 3.0, like)


def trace(components: Array) -> Array:
    """Sum of the first three components, (...)."""
    return components[..., 0] + components[..., 1] + components[..., 2]


def norm(tensor: Array) -> Array:
    """Frobenius norm, (...), of tensor components (stress, or strain without doubled shear)."""
    squares = tensor * tensor
    return namespace(tensor).sqrt(squares.sum(-1) + squares[..., 3:].sum(-1))


def halve_shear(strain: Array) -> Array:
    """Tensor components of a strain with engineering shear."""
    return strain * constant(np.diag(_HALF), strain)


def double_shear(strain: Array) -> Array:
    """Engineering shear of a strain in tensor components."""
    return strain / constant(np.diag(_HALF), strain)


def lame_of(E_MPa: Array, nu: float) -> tuple[Array, Array]:
    """Lame's constants lambda and mu in MPa."""
    return E_MPa * (nu / ((1 + nu) * (1 - 2 * nu))), E_MPa * (0.5 / (1 + nu))


def elastic_stress(strain: Array, E_MPa: Array, nu: float) -> Array:
    """Isotropic linear stress, (..., 6)."""
    lam, mu = lame_of(E_MPa, nu)
    tensor = halve_shear(strain)
    return (lam * trace(strain))[..., None] * unit(strain) + (2 * mu)[..., None] * tensor


def elastic_energy(strain: Array, E_MPa: Array, nu: float) -> Array:
    """Energy density of isotropic elasticity in MPa, (...)."""
    return 0.5 * (elastic_stress(strain, E_MPa, nu) * strain).sum(-1)


def elastic_tangent(E_MPa: Array, nu: float, like: Array) -> Array:
    """Isotropic elasticity, (..., 6, 6)."""
    lam, mu = lame_of(E_MPa, nu)
    one = unit(like)
    return lam[..., None, None] * outer(one, one) + (2 * mu)[..., None, None] * constant(
        _HALF, like
    )


def require_elasticity(E_MPa: Array, nu: float) -> None:
    """Refuse moduli or a Poisson's ratio out of range.

    Raises
    ------
    InputError
    """
    if not bool((E_MPa > 0).all()):
        raise InputError("a material law needs a positive Young's modulus at every point")
    if not -1.0 < nu < 0.5:
        raise InputError(f"Poisson's ratio must lie between -1 and 0.5, got {nu}")
