"""Isotropic functions of a symmetric tensor by its principal values, with derivatives.

Written for numpy and torch alike, over any batch shape (...).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bonekit.fem.constitutive import Array, constant, namespace, outer

_FULL = ((0, 3, 5), (3, 1, 4), (5, 4, 2))  # component at each place of the 3x3 tensor
_PLACES = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
_PAIRS = ((0, 1), (1, 2), (0, 2))


@dataclass(frozen=True, eq=False)
class Principal:
    """Principal values of a tensor, (..., 3), ascending, and a basis of tensors, (..., 6, 6).

    The first three rows of the basis are ``n_i n_i``, the others ``(n_i n_j + n_j n_i) / sqrt 2``
    for the pairs 01, 12, 02, in tensor components.
    """

    values: Array
    basis: Array


def principal(tensor: Array) -> Principal:
    """Decompose tensors of six components without doubled shear, (..., 6)."""
    xp = namespace(tensor)
    rows = [xp.stack([tensor[..., c] for c in row], -1) for row in _FULL]
    values, n = xp.linalg.eigh(xp.stack(rows, -2))  # n[..., :, i] is the direction i

    def mode(i: int, j: int) -> Array:
        parts = [n[..., a, i] * n[..., b, j] + n[..., b, i] * n[..., a, j] for a, b in _PLACES]
        return xp.stack(parts, -1) * (0.5 if i == j else 0.5**0.5)

    modes = [mode(i, i) for i in range(3)] + [mode(i, j) for i, j in _PAIRS]
    return Principal(values, xp.stack(modes, -2))


def assembled(values: Array, at: Principal) -> Array:
    """Tensor, (..., 6), of principal values, (..., 3), in the directions of another."""
    return (values[..., None] * at.basis[..., :3, :]).sum(-2)


def derivative(values: Array, jacobian: Array, at: Principal) -> Array:
    """Differentiate an isotropic tensor function by the strain it is a function of.

    Parameters
    ----------
    values : array, (..., 3)
        Of the function.
    jacobian : array, (..., 3, 3)
        Derivative of its principal values by the principal strains.
    at : Principal
        The strain, in tensor components.

    Returns
    -------
    array, (..., 6, 6)
        Tensor components by components with engineering shear.

    References
    ----------
    Ogden, Non-linear Elastic Deformations (1984), section 6.1.4 (unverified: quoted from memory;
    tested against finite differences).
    """
    xp = namespace(values)
    D = at.basis[..., :3, :].swapaxes(-1, -2) @ jacobian @ at.basis[..., :3, :]
    scale = abs(at.values).sum(-1) + 1e-300
    for row, (i, j) in enumerate(_PAIRS, start=3):
        gap = at.values[..., j] - at.values[..., i]
        apart = abs(gap) > 1e-9 * scale
        safe = xp.where(apart, gap, 1 + 0 * gap)
        # equal principal values stay equal: the slope along their difference
        equal = 0.5 * (
            jacobian[..., i, i] - jacobian[..., i, j] + jacobian[..., j, j] - jacobian[..., j, i]
        )
        turn = xp.where(apart, (values[..., j] - values[..., i]) / safe, equal)
        m = at.basis[..., row, :]
        D = D + turn[..., None, None] * outer(m, m)
    return D


def shifted_clip(x: Array, low: Array, high: Array, a: float) -> tuple[Array, Array]:
    """Closest point of a box in the metric of isotropic elasticity.

    ``y_i = clip(x_i + c, low, high)`` with one shift c, for which ``c + a sum(y - x) = 0``: the
    optimality conditions of the least ``a (sum z)^2 + z . z`` over ``z = y - x``. The left side
    rises with c and is linear between the breakpoints, so that the answer is exact.

    Parameters
    ----------
    x : array, (..., 3)
    low, high : array, (...)
        ``high`` may be infinite.
    a : float
        Above -1/3.

    Returns
    -------
    y : array, (..., 3)
    jacobian : array, (..., 3, 3)
        Of y by x.
    """
    xp = namespace(x)
    low, high = low[..., None] + 0 * x, high[..., None] + 0 * x
    breaks = xp.concatenate([low - x, high - x], -1)
    finite = xp.isfinite(breaks)
    shifts = xp.where(finite, breaks, 0 * x[..., :1])
    y_at = x[..., None, :] + shifts[..., None]
    y_at = xp.minimum(xp.maximum(y_at, low[..., None, :]), high[..., None, :])
    value = shifts + a * (y_at - x[..., None, :]).sum(-1)
    below = finite & (value <= 0)
    infinite = constant(np.inf, x) + 0 * x[..., :1]
    left = xp.amax(xp.where(below, breaks, -infinite), -1)
    right = xp.amin(xp.where(below, infinite, breaks), -1)
    at_low = low - x >= right[..., None]
    at_high = high - x <= left[..., None]
    free = ~(at_low | at_high)
    zero, one = 0 * x, 1 + 0 * x
    held = xp.where(at_low, low - x, xp.where(at_high, high - x, zero))
    weight = xp.where(free, one, zero)
    share = 1 + a * weight.sum(-1)
    shift = -a * held.sum(-1) / share
    y = x + xp.where(free, shift[..., None] + zero, held)
    jacobian = weight[..., None] * (
        constant(np.eye(3), x) + (a / share)[..., None, None] * (1 - weight)[..., None, :]
    )
    return y, jacobian
