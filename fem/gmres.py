"""GMRES for tangents that are indefinite or not symmetric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import lstsq
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


def flexible_gmres(
    A: Operator, M: Operator, b: Tensor, rtol: float, restart: int = 60, cycles: int = 4
) -> tuple[Tensor, tuple[float, ...]]:
    """Reduce b - A x by GMRES with a preconditioner on the right, which may vary.

    Parameters
    ----------
    A, M : callable
        Operator and preconditioner, tensor to tensor.
    b : Tensor
    rtol : float
        Aim for the norm of b - A x over that of b.
    restart : int
        Vectors kept.
    cycles : int
        Restarts at most.

    Returns
    -------
    x : Tensor
        The best found; whether it is good enough is for the caller to say.
    history : tuple of float
        Relative residual at the start and after each cycle's iterations.

    References
    ----------
    Saad, SIAM J. Sci. Comput. 14 (1993) 461: flexible inner-outer preconditioned GMRES.
    """
    x, scale = torch.zeros_like(b), float(torch.linalg.vector_norm(b))
    if scale == 0.0:
        return x, (0.0,)
    history, r = [1.0], b
    for _ in range(cycles):
        step, course = _cycle(A, M, r, rtol * scale, restart)
        x = x + step
        r = b - A(x)
        history += [c / scale for c in course]
        history[-1] = float(torch.linalg.vector_norm(r)) / scale
        if history[-1] <= rtol:
            break
    return x, tuple(history)


def _cycle(
    A: Operator, M: Operator, r: Tensor, atol: float, restart: int
) -> tuple[Tensor, list[float]]:
    """Correction of least residual in one Krylov space, and the norms on the way."""
    beta = float(torch.linalg.vector_norm(r))
    basis, images = [r / beta], []
    H = np.zeros((restart + 1, restart))
    norms, y = [], np.zeros(0)
    for j in range(restart):
        images.append(M(basis[j]))
        w = A(images[j])
        for i in range(j + 1):  # modified Gram-Schmidt
            H[i, j] = float(torch.dot(w.reshape(-1), basis[i].reshape(-1)))
            w = w - H[i, j] * basis[i]
        H[j + 1, j] = float(torch.linalg.vector_norm(w))
        target = np.zeros(j + 2)
        target[0] = beta
        y = lstsq(H[: j + 2, : j + 1], target)[0]
        norms.append(float(np.linalg.norm(target - H[: j + 2, : j + 1] @ y)))
        if norms[-1] <= atol or H[j + 1, j] <= 1e-14 * beta:
            break
        basis.append(w / H[j + 1, j])
    step = torch.zeros_like(r)
    for weight, image in zip(y, images, strict=True):
        step.add_(image, alpha=float(weight))
    return step, norms
