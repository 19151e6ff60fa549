"""Conjugate gradients that tolerate a preconditioner of lower precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bonekit.errors import ConvergenceError

Operator = Callable[[Tensor], Tensor]
Progress = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class CGResult:
    """Solution of A x = b and the relative residual norm at each iteration."""

    x: Tensor
    history: tuple[float, ...]

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return len(self.history) - 1


def conjugate_gradients(
    A: Operator,
    M: Operator,
    b: Tensor,
    rtol: float,
    max_iterations: int,
    progress: Progress | None = None,
    start: Tensor | None = None,
) -> CGResult:
    """Solve A x = b, symmetric positive definite, by flexible preconditioned CG.

    The direction update is Polak and Ribiere's, which keeps converging when M is only nearly
    symmetric, as one computed in float32 is. The recurrence's residual drifts from b - A x, so
    the true one is computed on arrival, and the iteration restarted from it if it is too large.

    Parameters
    ----------
    A, M : callable
        Operator and preconditioner, tensor to tensor.
    b : Tensor
    rtol : float
        Bound on the norm of b - A x over that of b.
    max_iterations : int
    progress : callable, optional
        Called with the iteration and the relative residual.
    start : Tensor, optional
        Where to begin: scaled to the least energy along its direction; zero by default.

    Raises
    ------
    ConvergenceError
        If the tolerance is not reached, or if A or M is found not to be positive definite.

    References
    ----------
    Golub and Ye, SIAM J. Sci. Comput. 21 (1999) 1305-1320: inexact preconditioned CG.
    """
    scale = float(torch.linalg.vector_norm(b))
    x, r = _beginning(A, b, start)
    return iterated(A, M, x, r, scale, lambda x: b - A(x), rtol, max_iterations, progress)


def iterated(
    A: Operator,
    M: Operator,
    x: Tensor,
    r: Tensor,
    scale: float,
    rest: Operator,
    rtol: float,
    max_iterations: int,
    progress: Progress | None = None,
) -> CGResult:
    """Do as `conjugate_gradients` from an iterate and its residual, which are overwritten.

    Four vectors are held, and no right-hand side: ``rest`` computes the residual of an iterate, and
    ``scale`` is the norm to which ``rtol`` refers.
    """
    history = [float(torch.linalg.vector_norm(r)) / scale if scale else 0.0]
    p, q = torch.zeros_like(r), torch.zeros_like(r)
    alpha, rz = 0.0, 1.0
    while history[-1] > rtol and len(history) <= max_iterations:
        change = q.float()  # of the residual, as far as the next direction needs it
        del q
        z = M(r)
        beta = -alpha * _dot(z.float(), change) / rz  # z . (r - r_old) / (z_old . r_old)
        p.mul_(beta).add_(z)
        rz = _dot(r, z)
        del z, change  # two vectors less at the peak of memory, which is in A
        q = A(p)
        curvature = _dot(p, q)
        if not (curvature > 0 and rz > 0):
            raise ConvergenceError(_report(history, rtol, "the operator is singular or indefinite"))
        alpha = _dot(r, p) / curvature
        x.add_(p, alpha=alpha)
        r.add_(q, alpha=-alpha)
        history.append(float(torch.linalg.vector_norm(r)) / scale)
        if history[-1] <= rtol:  # so says the recurrence: ask the operator, restart if not
            del r, q
            r, q = rest(x), p
            history[-1] = float(torch.linalg.vector_norm(r)) / scale
            alpha = 0.0
        if progress is not None:
            progress(len(history) - 1, history[-1])
    if history[-1] > rtol:
        raise ConvergenceError(_report(history, rtol, "the tolerance was not reached"))
    return CGResult(x, tuple(history))


def _beginning(A: Operator, b: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the first iterate and its residual."""
    if start is None or not start.any():
        return torch.zeros_like(b), b.clone()
    q = A(start)
    alpha = _dot(start, b) / _dot(start, q)
    return alpha * start, b - alpha * q


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _report(history: list[float], rtol: float, reason: str) -> str:
    every = max(1, len(history) // 8)
    course = ", ".join(f"{h:.1e}" for h in (*history[:-1:every], history[-1]))
    return (
        f"the solve stopped after {len(history) - 1} iterations: {reason}; relative residual "
        f"{history[-1]:.2e}, asked {rtol:.0e} (course: {course})."
    )
