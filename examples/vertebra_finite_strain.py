"""A vertebra compressed to 1.9 % of its height, with small strains and with finite ones.

Finite strains must not notice a turn of the whole bone; small ones do. The patient is synthetic.
"""

import numpy as np
import torch

import bonekit
from bonekit.fem.failure import Assembly
from bonekit.fem.peak import Peak, after_yield, peak_load
from bonekit.fem.simulation import Problem
from bonekit.phantom import ScannerParameters, vertebra_phantom


def vertebra(edge_mm: float = 4.0) -> Problem:
    """Set up the compression of a synthetic vertebra."""
    phantom = vertebra_phantom(scanner=ScannerParameters(spacing_mm=(1.2, 1.2, 1.5)), seed=2)
    a, b = phantom.hu_per_g_cm3, phantom.hu_at_zero
    line = bonekit.Calibration(1 / a, -b / a, bonekit.DensityKind.ASH, "synthetic scanner")
    ct = phantom.ct.canonical()
    bone = bonekit.segment(ct, "vertebra_L3")
    mesh = bonekit.mesh(bone, edge_mm)
    return bonekit.set_up(mesh, bonekit.to_ash(bonekit.density_image(ct, line)), bone)


def peaks(problem: Problem) -> tuple[Peak, Peak]:
    """Largest force up to 1.9 % of the height: with small strains, with finite ones."""
    return peak_load(problem), peak_load(problem, finite=True)


def seen_of_a_turn(problem: Problem, peak: Peak, degrees: float, *, finite: bool) -> float:
    """Turn the compressed bone as a whole: change of its inner forces, beyond their turning."""
    model, law = problem.model, after_yield(problem).law
    at = Assembly.of(model, law, 1e-4, bbar=True, finite=finite, device=torch.device("cpu"))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    x = model.mesh.node_ijk * model.mesh.grid.spacing_mm
    u = peak.failure.nodes_mm

    def forces(moved: np.ndarray) -> np.ndarray:
        field = torch.zeros_like(at.equilibrium.given)
        field[:, at.where] = torch.as_tensor(moved.T.copy())
        bricks = at.equilibrium.bricks
        return bricks.evaluate(field, bricks.start()).force_N.numpy()[:, at.where].T

    expected = forces(u) @ turn.T
    return float(np.abs(forces((x + u) @ turn.T - x) - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    problem = vertebra()
    small, large = peaks(problem)
    ratio = large.strength.strength_N / small.strength.strength_N
    print(
        f"{small.strength.strength_N:.0f} N with small strains, {ratio:.4f} of it with finite ones"
    )
    seen = seen_of_a_turn(problem, large, 30.0, finite=True)
    print(f"turned by 30 degrees: forces change by {seen:.1e}")
