"""How far the built-in segmentation is from the truth, in millilitres and in stiffness.

The patient is synthetic, so truth is exact; real scans are harder.
"""

from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_dice

import bonekit
from bonekit.fem.strength import Strength
from bonekit.image import LabelMap
from bonekit.phantom import FemurParameters, Phantom, ScannerParameters, femur_phantom
from bonekit.segmentation import Segmentation


@dataclass(frozen=True)
class Errors:
    """Baseline against truth; volume, stiffness and strength are relative."""

    dice: float
    volume: float
    stiffness: float
    strength: float


def compare(phantom: Phantom, edge_mm: float = 2.5) -> Errors:
    """Run the same model on the baseline's labels and on the true ones."""
    ct = phantom.ct.canonical()
    found = bonekit.segment(ct, phantom.bone)
    truth = bonekit.from_labels(ct, true_mask(phantom), phantom.bone, label=1)
    a, b = (torch.from_numpy(s.bone_mask[None, None].astype(np.float32)) for s in (found, truth))
    ours, exact = (solved(s, phantom, edge_mm) for s in (found, truth))
    return Errors(
        dice=float(compute_dice(a, b)),
        volume=float(a.sum() / b.sum()) - 1.0,
        stiffness=ours.stiffness_N_mm / exact.stiffness_N_mm - 1.0,
        strength=ours.strength_N / exact.strength_N - 1.0,
    )


def true_mask(phantom: Phantom) -> LabelMap:
    """Return the whole bone as label 1."""
    labels = phantom.labels.canonical()
    return labels.with_array(labels.mask("cortex", "trabecular", "lesion").astype(np.uint8))


def solved(bone: Segmentation, phantom: Phantom, edge_mm: float) -> Strength:
    """Build and solve the model of one segmentation."""
    a, b = phantom.hu_per_g_cm3, phantom.hu_at_zero
    line = bonekit.Calibration(1 / a, -b / a, bonekit.DensityKind.ASH, "synthetic scanner")
    ash = bonekit.to_ash(bonekit.density_image(phantom.ct.canonical(), line))
    mesh = bonekit.mesh(bone, edge_mm)
    problem = bonekit.set_up(mesh, ash, bone)
    return bonekit.judge(problem, bonekit.solve(problem))


def patient() -> Phantom:
    """Make a synthetic left femur."""
    scanner = ScannerParameters(spacing_mm=(0.9, 0.9, 2.0))
    return femur_phantom(FemurParameters(side="left"), scanner=scanner, seed=5)


if __name__ == "__main__":
    e = compare(patient())
    print(f"synthetic femur: Dice {e.dice:.3f}, volume {e.volume:+.1%}")
    print(f"stiffness {e.stiffness:+.1%}, strength {e.strength:+.1%} against the true labels")
