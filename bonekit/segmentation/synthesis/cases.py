"""One synthetic subject of a task: anatomy, lesions, scanner, and the truth about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bonekit.errors import InputError
from bonekit.image import Image, LabelMap
from bonekit.phantom import femur_phantom, random_femur, random_lesion, random_scanner
from bonekit.segmentation.synthesis import anatomy
from bonekit.segmentation.synthesis.anatomy import Shape, Size
from bonekit.segmentation.synthesis.lesions import (
    LESIONS,
    Inserted,
    Kind,
    Lesion,
    LesionRecipe,
    insert_lesions,
)
from bonekit.segmentation.synthesis.recipe import RECIPES, Recipe, recipe_name
from bonekit.segmentation.synthesis.render import acquire, deform, paint, surrounded
from bonekit.segmentation.task import Task

Rng = np.random.Generator


@dataclass(frozen=True)
class Body:
    """How a body is drawn: its function, its usual grid, the size lesions are given for."""

    draw: Callable[[Shape, Size, Rng], LabelMap]
    shape: Shape
    spacing_mm: Size
    extent_mm: float


BODIES: Mapping[str, Body] = {
    "femur": Body(anatomy.femur, (48, 48, 48), (3.0, 3.0, 3.0), 144.0),
    "thigh": Body(anatomy.thigh, (64, 64, 32), (3.0, 3.0, 5.0), 160.0),
    "brain": Body(anatomy.brain, (64, 64, 64), (2.0, 2.0, 2.0), 128.0),
    "organ": Body(anatomy.organ, (64, 64, 48), (1.0, 1.0, 1.0), 48.0),
}
USUAL: Mapping[str, str] = {
    "bone_ct": "femur",
    "bone_metastases_ct": "femur",
    "leg_muscle_dixon": "thigh",
    "ms_new_lesions": "brain",
    "ms_lesions": "brain",
    "dawm": "brain",
    "ultrasound_3d": "organ",
}
# The task's label for a tissue: the first of these names that the task has; else background.
MEANS: Mapping[str, tuple[str, ...]] = {
    "cortex": ("cortex", "bone"),
    "trabecular": ("trabecular", "bone"),
    "white_matter": ("white_matter", "nawm"),
}
DARK = ("t1", "mtr")  # recipes where lesions of the white matter are darker than it
# Factors on slice thickness, noise and bias field: what makes one scanner worse than the other.
SCANNERS: Mapping[str, tuple[float, float, float]] = {"A": (1.0, 1.0, 1.0), "B": (1.6, 2.0, 2.0)}


@dataclass(frozen=True, eq=False)
class Case:
    """A synthetic subject.

    Parameters
    ----------
    images : tuple of Image
        One for each channel of the task.
    labels : LabelMap
        Numbers and names of the task.
    lesions : tuple of Lesion
    columns : mapping of str to str
        Its row of the case sheet.
    """

    images: tuple[Image, ...]
    labels: LabelMap
    lesions: tuple[Lesion, ...]
    columns: Mapping[str, str]


def draw_case(
    task: Task,
    rng: Rng,
    *,
    body: str | LabelMap | None = None,
    shape: Shape | None = None,
    spacing_mm: Size | None = None,
    recipes: Mapping[str, Recipe] | None = None,
) -> Case:
    """Draw one subject of a task.

    Parameters
    ----------
    task : Task
    rng : numpy.random.Generator
    body : str or LabelMap, optional
        "femur", "thigh", "brain", "organ"; "phantom" for the detailed femur of `bonekit.phantom`;
        or anybody's label map, whose names are those of the task's labels or of tissues. By
        default what suits the built-in task.
    shape, spacing_mm : tuple, optional
        Of a drawn body.
    recipes : mapping of str to Recipe, optional
        For channels by name, in the place of the usual ones.

    Raises
    ------
    InputError
        If no body is known for the task, or the body can't show one of the task's labels.
    """
    body = USUAL.get(task.name) if body is None else body
    bone = ""
    scanner = str(rng.choice(sorted(SCANNERS)))
    site = str(rng.choice(["north", "south"], p=[0.8, 0.2] if scanner == "A" else [0.2, 0.8]))
    if body == "phantom":
        image, tissues, lesions, bone = _phantom(task, rng, spacing_mm, scanner)
        images: tuple[Image, ...] = (image,)
    else:
        tissues, scale = _tissues(task, body, shape, spacing_mm, rng)
        chosen = _recipes(task, recipes or {})
        ideal = {name: paint(tissues, recipe, rng) for name, recipe in chosen.items()}
        inserted = _with_lesions(task, _channels(task, ideal), tissues, scale, rng)
        tissues, lesions = inserted.labels, inserted.lesions
        kinds = [_own(task, index, chosen) for index in range(len(task.channels))]
        images = tuple(
            acquire(image, _worse(recipe, scanner), rng)
            for image, recipe in zip(inserted.images, kinds, strict=True)
        )
    columns = {"scanner": scanner, "site": site, "synthetic": "yes", "lesions": str(len(lesions))}
    if bone:
        columns["bone"] = bone
    return Case(images, _task_labels(tissues, task), lesions, columns)


def _tissues(
    task: Task,
    body: str | LabelMap | None,
    shape: Shape | None,
    spacing_mm: Size | None,
    rng: Rng,
) -> tuple[LabelMap, float]:
    """Tissues of a body, and the size of its lesions against the usual."""
    if isinstance(body, LabelMap):
        return surrounded(deform(body, rng)), 1.0
    if body is None or body not in BODIES:
        raise InputError(
            f"no body {body!r} for the task {task.name!r}; allowed: {', '.join(BODIES)}, phantom "
            "(a CT of a femur), or your own label maps"
        )
    kind = BODIES[body]
    grid = shape or kind.shape, spacing_mm or kind.spacing_mm
    extent = float((np.array(grid[0]) * grid[1]).min())
    return kind.draw(*grid, rng), extent / kind.extent_mm


def _recipes(task: Task, given: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Recipes that the task's channels need, by their name or that of the channel."""
    if unknown := sorted(set(given) - {channel.name for channel in task.channels}):
        raise InputError(
            f"recipes for {', '.join(unknown)}: the task {task.name!r} has the channels "
            + ", ".join(channel.name for channel in task.channels)
        )
    needed: dict[str, Recipe] = {}
    for channel in task.channels:
        if channel.name in given:
            needed[channel.name] = given[channel.name]
        elif channel.name in ("in_phase", "out_phase"):
            needed |= {name: given.get(name, RECIPES[name]) for name in ("water", "fat")}
        else:
            name = recipe_name(channel.name, channel.modality)
            needed[name] = RECIPES[name]
    return needed


def _own(task: Task, index: int, recipes: Mapping[str, Recipe]) -> Recipe:
    """Recipe of one channel: that of water stands for the phases."""
    channel = task.channels[index]
    name = recipe_name(channel.name, channel.modality)
    found = recipes.get(channel.name, recipes.get(name))
    return recipes["water"] if found is None else found


def _channels(task: Task, ideal: Mapping[str, Image]) -> list[Image]:
    """Painted image of every channel; water and fat make the two phases of a Dixon scan."""
    images = []
    for channel in task.channels:
        if channel.name in ideal:
            images.append(ideal[channel.name])
        elif channel.name in ("in_phase", "out_phase"):
            water, fat = ideal["water"].array, ideal["fat"].array
            both = water + fat if channel.name == "in_phase" else np.abs(water - fat)
            images.append(ideal["water"].with_array(both))
        else:
            images.append(ideal[recipe_name(channel.name, channel.modality)])
    return images


def _lesions_of(task: Task) -> list[LesionRecipe]:
    """Lesions that a subject of a task has; old ones of a pair of visits are background."""
    if "dawm" in task.labels:
        lesion = LESIONS["ms"].model_copy(update={"count": (1, 4)})
        return [LESIONS["dawm"], lesion]
    if "new_lesion" in task.labels:
        old = LESIONS["ms"].model_copy(update={"label": "old_lesion"})
        return [old, LESIONS["new_ms"]]
    if "lesion" not in task.labels:
        return []
    if task.channels[0].modality == "ct":
        kinds: tuple[tuple[Kind, int], ...] = (("lytic", 2), ("blastic", 1), ("mixed", 1))
        return [LESIONS[kind].model_copy(update={"count": (0, most)}) for kind, most in kinds]
    return [LESIONS["ms"]]


def _with_lesions(
    task: Task, images: Sequence[Image], tissues: LabelMap, scale: float, rng: Rng
) -> Inserted:
    """Put the task's lesions in, sized to the body."""
    done = Inserted(tuple(images), tissues, tissues, ())
    for kind in _lesions_of(task):
        low, high = kind.radius_mm
        recipe = kind.model_copy(update={"radius_mm": (low * scale, high * scale)})
        signs = None
        if kind.kind in ("ms", "dawm"):
            names = [recipe_name(c.name, c.modality) for c in task.channels]
            signs = [-1.0 if name in DARK else 1.0 for name in names]
        new = insert_lesions(done.images, done.labels, recipe, rng, signs=signs)
        known = tuple(one for one in new.lesions if kind.label in task.labels)
        done = replace(new, lesions=(*done.lesions, *known))
    return done


def _worse(recipe: Recipe, scanner: str) -> Recipe:
    """Recipe of a scanner."""
    factors = SCANNERS[scanner]
    names = ("slice_mm", "noise_std", "bias")
    changed = {
        name: tuple(factor * value for value in getattr(recipe, name))
        for name, factor in zip(names, factors, strict=True)
    }
    return recipe.model_copy(update=changed)


def _phantom(
    task: Task, rng: Rng, spacing_mm: Size | None, scanner: str
) -> tuple[Image, LabelMap, tuple[Lesion, ...], str]:
    """CT, labels, lesions and name of the detailed femur, in three of four with a lesion."""
    if [channel.modality for channel in task.channels] != ["ct"]:
        raise InputError(
            f"the phantom is a CT of a femur; the task {task.name!r} has the channels "
            + ", ".join(f"{c.name} ({c.modality})" for c in task.channels)
        )
    sick = "lesion" in task.labels and rng.uniform() < 0.75
    lesion = random_lesion(rng) if sick else None
    machine = random_scanner(rng)
    machine = replace(machine, noise_hu=machine.noise_hu * SCANNERS[scanner][1])
    if spacing_mm is not None:
        machine = replace(machine, spacing_mm=spacing_mm, slice_thickness_mm=None)
    made = femur_phantom(random_femur(rng), lesion, scanner=machine, seed=int(rng.integers(2**31)))
    labels, ct = made.labels.canonical(), made.ct.canonical()
    if lesion is None:
        return ct, labels, (), made.bone
    volume = float(labels.mask("lesion").sum()) * labels.grid.voxel_mm3
    x, y, z = made.truth["lesion_centre_mm"]
    kind = next(one for one in LESIONS if one == lesion.kind)
    return ct, labels, (Lesion(kind, (x, y, z), lesion.radii_mm, volume),), made.bone


def _task_labels(tissues: LabelMap, task: Task) -> LabelMap:
    """Turn tissues into the labels of a task.

    Raises
    ------
    InputError
        If nothing in the body could ever become one of the labels.
    """
    array, reached = np.zeros(tissues.shape, np.uint8), {"background"}
    for value, tissue in tissues.names.items():
        names = [name for name in MEANS.get(tissue, (tissue,)) if name in task.labels]
        if names:
            array[tissues.array == value] = task.labels[names[0]]
            reached.add(names[0])
    reached |= {recipe.label for recipe in _lesions_of(task)}
    if missing := sorted(set(task.labels) - reached):
        raise InputError(
            f"the body has nothing that is {', '.join(missing)} of the task {task.name!r}; it has "
            f"{', '.join(tissues.names.values())}. Rename the labels of your label map"
        )
    names_of = {value: name for name, value in task.labels.items() if value}
    return LabelMap(array, tissues.grid, names_of)
