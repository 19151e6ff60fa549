"""How tissues look and how the scanner sees them: ranges from which each image is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bonekit.part import Part

Range = tuple[float, float]
Positive = Annotated[float, Field(ge=0)]
Spread = tuple[Positive, Positive]
Noise = Literal["none", "gaussian", "rician", "ct", "speckle"]


class Tissue(Part):
    """Range of the mean of a tissue and of the standard deviation of its texture."""

    mean: Range
    std: Spread = (0.0, 0.0)


class Recipe(Part):
    """Appearance of tissues and the scanner; every entry is a range drawn anew for each image.

    Parameters
    ----------
    tissues : mapping of str to Tissue
        By the names of a label map; ``background`` is what has no label.
    other : Tissue, optional
        Of labels that `tissues` does not name; without it they are refused.
    texture_mm : tuple of float
        Correlation length of the texture inside tissues.
    psf_fwhm_mm : tuple of float
        Point spread in the plane of the slices (first two axes of the canonical image).
    slice_mm : tuple of float
        Thickness of the slices; what is below the voxel size has no effect.
    bias : tuple of float
        Largest coefficient of a polynomial bias field of degree 3 (MONAI's RandBiasField).
    noise : "none", "gaussian", "rician", "ct" or "speckle"
        ``ct`` has the power spectrum of `bonekit.phantom.scanner.noise`; ``speckle`` is fully
        developed (Burckhardt, IEEE Trans. Sonics Ultrason. 25:1, 1978) and log-compressed to
        0..255, tissues then being echogenicities in dB.
    noise_std : tuple of float
    limits : tuple of float, optional
        Values are cut there, and rounded to whole numbers.
    """

    tissues: Mapping[str, Tissue] = {}
    other: Tissue | None = None
    texture_mm: Spread = (3.0, 6.0)
    psf_fwhm_mm: Spread = (0.0, 0.0)
    slice_mm: Spread = (0.0, 0.0)
    bias: Spread = (0.0, 0.0)
    noise: Noise = "none"
    noise_std: Spread = (0.0, 0.0)
    limits: Range | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        """Refuse ranges that end before they begin."""
        named = {"texture_mm": self.texture_mm, "psf_fwhm_mm": self.psf_fwhm_mm}
        named |= {"slice_mm": self.slice_mm, "bias": self.bias, "noise_std": self.noise_std}
        for name, tissue in {**self.tissues, "other": self.other}.items():
            if tissue is not None:
                named |= {f"{name}: mean": tissue.mean, f"{name}: std": tissue.std}
        for name, (low, high) in named.items():
            if low > high:
                raise ValueError(f"{name} runs from {low:g} to {high:g}: give the smaller first")
        return self


def _grey(means: Mapping[str, float], *, vary: float, texture: float) -> dict[str, Tissue]:
    """Tissues by their typical grey value, which varies by a share of itself."""
    return {
        name: Tissue(
            mean=(mean * (1 - vary), mean * (1 + vary)), std=(0.5 * texture * mean, texture * mean)
        )
        for name, mean in means.items()
    }


MUSCLES = (
    "sartorius",
    "rectus_femoris",
    "vastus_lateralis",
    "vastus_intermedius",
    "vastus_medialis",
    "adductor_magnus",
    "gracilis",
    "biceps_femoris_long_head",
    "semitendinosus",
    "semimembranosus",
    "biceps_femoris_short_head",
)

# Typical values, not fitted to data: HU of soft tissue and bone, arbitrary units of the others.
CT = Recipe(
    tissues={
        "background": Tissue(mean=(-1000, -1000)),
        "fat": Tissue(mean=(-110, -90), std=(4, 10)),
        "muscle": Tissue(mean=(45, 65), std=(5, 12)),
        "cortex": Tissue(mean=(900, 1400), std=(40, 90)),
        "trabecular": Tissue(mean=(120, 350), std=(30, 70)),
        "bone": Tissue(mean=(300, 700), std=(60, 150)),
        "pelvis": Tissue(mean=(300, 600), std=(60, 150)),
    },
    other=Tissue(mean=(30, 70), std=(5, 12)),
    psf_fwhm_mm=(0.7, 1.4),
    slice_mm=(1.0, 3.0),
    noise="ct",
    noise_std=(8.0, 30.0),
    limits=(-1024, 3071),
)


def _mri(means: Mapping[str, float], vary: float = 0.1) -> Recipe:
    return Recipe(
        tissues=_grey(means, vary=vary, texture=0.06),
        other=Tissue(mean=(100, 900), std=(5, 40)),
        bias=(0.0, 0.15),
        noise="rician",
        noise_std=(8.0, 25.0),
        slice_mm=(0.5, 3.0),
        limits=(0, 4095),
    )


_SOFT = {"background": 0.0, "cortex": 30.0}
_BRAIN = ("fat", "csf", "grey_matter", "white_matter")


def _brain(*means: float) -> dict[str, float]:
    return {"background": 0.0, **dict(zip(_BRAIN, means, strict=True))}


WATER = _mri(
    {**_SOFT, "fat": 70, "trabecular": 110, "muscle": 520, **dict.fromkeys(MUSCLES, 600.0)}
)
FAT = _mri({**_SOFT, "fat": 900, "trabecular": 780, "muscle": 90, **dict.fromkeys(MUSCLES, 60.0)})
FLAIR = _mri(_brain(450, 120, 620, 500))
T1 = _mri(_brain(800, 180, 480, 680))
T2 = _mri(_brain(500, 950, 520, 400))
_QUANTITATIVE = {"bias": (0.0, 0.0), "noise": "gaussian", "limits": None}
T1_MAP = _mri(_brain(400, 3900, 1400, 900), 0.04).model_copy(
    update={**_QUANTITATIVE, "noise": "rician", "noise_std": (20.0, 60.0)}  # ms
)
MTR = _mri(_brain(5, 2, 32, 42), 0.04).model_copy(
    update={**_QUANTITATIVE, "noise_std": (0.8, 2.0), "other": Tissue(mean=(5, 45))}  # percent
)
ULTRASOUND = Recipe(
    tissues={
        "background": Tissue(mean=(28, 34), std=(0, 1.5)),
        "vessel": Tissue(mean=(2, 8)),
        "target": Tissue(mean=(14, 20), std=(0, 1.5)),
    },
    other=Tissue(mean=(5, 40)),
    psf_fwhm_mm=(0.8, 1.6),
    noise="speckle",
    noise_std=(1.0, 1.0),
    limits=(0, 255),
)

# Means, deviations and bias of SynthSeg (Billot et al., Med. Image Anal. 86:102789, 2023) on a
# scale of 0 to 255; unverified: quoted from memory. Its bias field is another smooth field.
RANDOM = Recipe(
    tissues={"background": Tissue(mean=(0, 0))},
    other=Tissue(mean=(0, 255), std=(0, 35)),
    texture_mm=(0.5, 1.0),
    psf_fwhm_mm=(0.0, 2.0),
    slice_mm=(1.0, 6.0),
    bias=(0.0, 0.5),
    noise="gaussian",
    noise_std=(0.0, 10.0),
)


RECIPES: Mapping[str, Recipe] = {
    "ct": CT,
    "water": WATER,
    "fat": FAT,
    "flair": FLAIR,
    "t1": T1,
    "t1_map": T1_MAP,
    "t2": T2,
    "mtr": MTR,
    "ultrasound": ULTRASOUND,
    "random": RANDOM,
}


def recipe_name(channel: str, modality: str) -> str:
    """Choose one of `RECIPES` for a task's channel by its name: ``random`` if nothing fits."""
    if modality in ("ct", "ultrasound"):
        return modality
    name = channel.lower()
    if "t1" in name:
        return "t1_map" if modality == "map" or "map" in name else "t1"
    return next((word for word in ("flair", "mtr", "water", "fat", "t2") if word in name), "random")
