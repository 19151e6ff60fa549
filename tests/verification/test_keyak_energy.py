"""The law of Keyak et al. 2005: what breaking a column costs does not depend on its elements."""

import numpy as np
import pytest

from bonekit.fem.catalogue import LAWS
from bonekit.fem.failure import failure_load
from bonekit.fem.keyak_law import keyak_law
from bonekit.fem.model import Constraint, Model
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

KEYAK = LAWS["keyak_2005"]
HIGH_MM = 6.0


@pytest.mark.parametrize("region", ["trabecular", "cortical"])
@pytest.mark.parametrize("edge_mm", [1.0, 3.0])
def test_energy_over_the_section_is_that_of_the_specimen(region: str, edge_mm: float) -> None:
    """A column in simple shear, its lowest brick weaker by a thousandth: it alone breaks.

    In shear, for a column pressed or pulled is no longer uniaxial where one brick flows: plastic
    flow keeps the volume, which its elastic neighbours resist. The law has no element in it when
    energies are taken over the section: plateau ``S eps L``, softening
    ``(S^2 - s^2) (1 / |Ep| + 1 / E) L / 2``, then the residual s; S, eps, Ep, s and L as measured.
    """
    rho, n = (0.4 if region == "trabecular" else 1.1), round(HIGH_MM / edge_mm)
    density = np.full(n, rho)
    density[0] *= 0.999
    E = KEYAK.modulus(density)
    law = keyak_law(KEYAK, density, E, np.full(n, region == "cortical"), edge_mm)
    mesh = VoxelMesh(np.ones((1, 1, n), np.uint8), Grid.of((1, 1, n), edge_mm), {1: "bar"})
    k, every = mesh.node_ijk[:, 2], np.arange(mesh.n_nodes)
    end_mm = 1.2 if region == "trabecular" else 0.9
    held = (
        Constraint("rails", every, (1, 2)),
        Constraint("bottom", every[k == 0], (0,)),
        Constraint("top", every[k == n], (0,), 1.0),
    )
    found = failure_load(
        Model(mesh, E, 0.3, held),
        law,
        end_mm=end_mm,
        drop=0.99,
        flat=0.0,
        rtol=1e-8,
        share=0.15,
    )
    assert np.flatnonzero(found.yielded).tolist() == [0]

    after = KEYAK.after_yield("cortical" if region == "cortical" else "trabecular")
    weak, L = density[:1], after.specimen_mm
    assert KEYAK.strength is not None
    S, s = KEYAK.strength(weak)[0], after.minimum_stress(weak)[0]
    flow = after.plateau(weak)[0] * L  # mm of plastic strain times height
    soften = (S - s) * (1 / -after.softening(weak)[0] + 1 / E[0]) * L
    elastic = 2.6 * edge_mm * (1 / E).sum() / 3  # mm of equivalent strain per MPa
    moved = np.cumsum([0, elastic * S, flow, soften - elastic * (S - s), 1.0])
    q = found.curve_N / edge_mm**2 * np.sqrt(3)
    at = found.curve_mm / np.sqrt(3)
    np.testing.assert_allclose(q, np.interp(at, moved, [0, S, S, s, s]), rtol=2e-6, atol=1e-6 * S)

    residual = s * (at[-1] - moved[3])
    assert residual > 0
    expected = S * flow + 0.5 * (S + s) * soften + residual
    assert found.steps[-1].dissipated / edge_mm**2 == pytest.approx(expected, rel=4e-3)
