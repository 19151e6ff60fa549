"""Images resampled by nnU-Net itself, as the reference of ours.

Needs its own environment: ``pip install nnunetv2==2.8.1``; then
``python benchmarks/nnunet_resampling.py tests/unit/segmentation/data/nnunet_resampled.npz``.
"""

import sys
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import (
    resample_data_or_seg_to_shape as resample,
)
from scipy.ndimage import gaussian_filter

SPACINGS_MM = {  # old, new; whole numbers of voxels on both sides
    "finer": ((1.5, 1.5, 1.5), (1.0, 1.0, 1.0)),
    "thick_slices": ((1.0, 1.0, 4.0), (0.8, 0.8, 2.0)),
    "to_thick_slices": ((1.0, 1.0, 1.0), (2.0, 2.0, 7.0)),
}


def main(target: Path) -> None:
    rng = np.random.default_rng(0)
    inner = np.zeros((20, 16, 14))  # the rim stays zero: what lies beyond it does not matter then
    inner[4:-4, 4:-4, 4:-4] = rng.normal(size=(12, 8, 6))
    image = np.rint(100 * gaussian_filter(inner, 0.7)).astype(np.float32)
    made = {}
    for name, (old, new) in SPACINGS_MM.items():
        shape = [round(n * a / b) for n, a, b in zip(image.shape, old, new, strict=True)]
        made[name] = resample(
            image[None], shape, old, new, order=3, order_z=0, force_separate_z=None
        )[0]
        made[f"{name}_mm"] = np.array([old, new])
    np.savez_compressed(
        target, image=image, **{k: np.round(v, 3).astype(np.float32) for k, v in made.items()}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
