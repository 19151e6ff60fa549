"""What goes into a run, known by its content and kept apart from what comes out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from bonekit.errors import InputError
from bonekit.image.files import suffix_of
from bonekit.image.writing import sidecar
from bonekit.runfolder import RunFolder, digest_of_file, digest_of_files


def hashes_of(
    given: Mapping[str, str | Path | None], out: Path, own: Collection[str]
) -> dict[str, str]:
    """Sha256 of each input by its role; names and paths stay out of the results."""
    found = {}
    for role, path in given.items():
        if path is None:
            continue
        if not Path(path).exists():
            raise InputError(f"{role}: there is no file or folder {path}")
        if role == "other_side":
            RunFolder.of(path, ("density",))  # refuses what is no run folder or not so far
        _check_apart(role, Path(path).resolve(), out.resolve(), own)
        parts = _parts(role, Path(path))
        found[role] = digest_of_files(parts) if len(parts) > 1 else digest_of_file(parts[0])
    return found


def _parts(role: str, path: Path) -> list[Path]:
    """Files that decide what is read from a path."""
    one_slice = role == "scan" and path.is_file() and not suffix_of(path)
    if suffix_of(path) in (".mhd", ".nhdr") or (one_slice and path.suffix.lower() != ".zip"):
        return [p for p in path.parent.iterdir() if p.is_file()]  # the voxels lie beside it
    if role == "other_side":
        return [path / name for name in ("segmentation.json", "labels.nii.gz", "density.nii.gz")]
    if role in ("labels", "tissues") and suffix_of(path):  # names decide too
        tables = (sidecar(path), path.with_name("dataset.json"))
        return [path, *(p for p in tables if p.is_file())]
    return [path]


def _check_apart(role: str, path: Path, out: Path, own: Collection[str]) -> None:
    """Refuse an input that the run would overwrite, or that the run would grow."""
    if path in [out / name for name in own]:
        raise InputError(
            f"the {role} {path} is a file of the run folder and would be replaced. Copy it "
            "elsewhere, or choose another folder for the run"
        )
    if path.is_dir() and out.is_relative_to(path):
        raise InputError(
            f"the run folder {out} lies in the folder of the {role}, which must not change. "
            "Choose another folder for the run"
        )
