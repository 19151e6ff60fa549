"""From a CT to a strength in ten lines, on a synthetic femur with a lytic lesion."""

import bonekit
from bonekit.phantom import (
    FemurParameters,
    LesionParameters,
    Phantom,
    ScannerParameters,
    femur_phantom,
)


def patient() -> Phantom:
    """Make a synthetic patient, coarse enough for a quick example."""
    scanner = ScannerParameters(spacing_mm=(1.2, 1.2, 2.0))
    lesion = LesionParameters(kind="lytic", site="neck")
    return femur_phantom(FemurParameters(side="right"), lesion, scanner=scanner, seed=3)


def strength(phantom: Phantom, edge_mm: float = 2.5) -> float:
    """Segment, mesh, solve and judge."""
    line = bonekit.Calibration(
        slope=1.0 / phantom.hu_per_g_cm3,
        intercept=-phantom.hu_at_zero / phantom.hu_per_g_cm3,
        kind=bonekit.DensityKind.ASH,
        source="exact line of the synthetic scanner",
    )
    ct = phantom.ct.canonical()
    femur = bonekit.segment(ct, "femur_right")
    ash = bonekit.to_ash(bonekit.density_image(ct, line))
    mesh = bonekit.mesh(femur, edge_mm)
    problem = bonekit.set_up(mesh, ash, femur)
    return bonekit.judge(problem, bonekit.solve(problem)).strength_N


if __name__ == "__main__":
    print(f"synthetic femur with a lytic lesion: {strength(patient()):.0f} N")
