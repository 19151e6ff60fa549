"""Synthetic images: from label maps and lesions to a data set whose truth is exact."""

from bonekit.segmentation.synthesis.cases import Case, draw_case
from bonekit.segmentation.synthesis.dataset import make_dataset
from bonekit.segmentation.synthesis.lesions import (
    LESIONS,
    Inserted,
    Lesion,
    LesionRecipe,
    insert_lesions,
)
from bonekit.segmentation.synthesis.raters import simulate_rater
from bonekit.segmentation.synthesis.recipe import RECIPES, Recipe, Tissue
from bonekit.segmentation.synthesis.render import acquire, deform, paint, synthesise

__all__ = [
    "LESIONS",
    "RECIPES",
    "Case",
    "Inserted",
    "Lesion",
    "LesionRecipe",
    "Recipe",
    "Tissue",
    "acquire",
    "deform",
    "draw_case",
    "insert_lesions",
    "make_dataset",
    "paint",
    "simulate_rater",
    "synthesise",
]
