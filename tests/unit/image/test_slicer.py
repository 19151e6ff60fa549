from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import LabelMap, read_labels, write


def test_names_colours_and_extents(labels, tmp_path: Path):
    path = tmp_path / "mask.seg.nrrd"
    write(labels, path)
    image = sitk.ReadImage(str(path))
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert fields["Segmentation_SourceRepresentation"] == "Binary labelmap"
    assert [fields[f"Segment{n}_Name"] for n in range(3)] == ["cortex", "lesion", "metal"]
    assert [fields[f"Segment{n}_LabelValue"] for n in range(3)] == ["1", "5", "9"]
    assert {fields[f"Segment{n}_Layer"] for n in range(3)} == {"0"}
    assert len({fields[f"Segment{n}_ID"] for n in range(3)}) == 3
    i, j, k = np.nonzero(labels.array == 5)
    extent = f"{i.min()} {i.max()} {j.min()} {j.max()} {k.min()} {k.max()}"
    assert fields["Segment1_Extent"] == extent
    assert fields["Segment2_Extent"] == "0 -1 0 -1 0 -1"
    assert "space: left-posterior-superior" in path.read_bytes()[:400].decode("ascii", "replace")
    assert read_labels(path).colours == labels.colours


def test_label_without_name_or_colour(labels, tmp_path: Path):
    write(LabelMap(labels.array, labels.grid), tmp_path / "mask.seg.nrrd")
    back = read_labels(tmp_path / "mask.seg.nrrd")
    assert back.names == {1: "label_1", 5: "label_5"}
    assert back.colours[1] != back.colours[5]


def layered(path: Path, layers: np.ndarray, segments: list[dict[str, str]]) -> Path:
    """A segmentation of several layers as Slicer writes it: list axis first, 4-D."""
    fields = "".join(
        f"Segment{n}_{key}:={value}\n" for n, s in enumerate(segments) for key, value in s.items()
    )
    header = (
        "NRRD0004\ntype: unsigned char\ndimension: 4\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, layers.shape))}\n"
        "space directions: none (-1,0,0) (0,2,0) (0,0,3)\nkinds: list domain domain domain\n"
        f"endian: little\nencoding: raw\nspace origin: (1,2,3)\n{fields}\n"
    )
    path.write_bytes(header.encode() + layers.astype(np.uint8).tobytes(order="F"))
    return path


SEGMENTS = [
    {"ID": "a", "Name": "femur", "LabelValue": "1", "Layer": "0", "Color": "1 0 0"},
    {"ID": "b", "Name": "lesion", "LabelValue": "1", "Layer": "1", "Color": "0 0 1"},
    {"ID": "c", "Name": "hip", "LabelValue": "2", "Layer": "0", "Color": "0 1 0"},
]


@pytest.fixture
def layers() -> np.ndarray:
    array = np.zeros((2, 4, 5, 6), np.uint8)
    array[0, :2], array[0, 3], array[1, 2, 1] = 1, 2, 1
    return array


def test_layers_become_one_label_map(layers, tmp_path: Path):
    labels = read_labels(layered(tmp_path / "a.seg.nrrd", layers, SEGMENTS))
    assert labels.names == {1: "femur", 2: "lesion", 3: "hip"}
    assert labels.colours == {1: (255, 0, 0), 2: (0, 0, 255), 3: (0, 255, 0)}
    np.testing.assert_array_equal(labels.mask("femur"), layers[0] == 1)
    np.testing.assert_array_equal(labels.mask("lesion"), layers[1] == 1)
    np.testing.assert_array_equal(labels.mask("hip"), layers[0] == 2)
    np.testing.assert_allclose(labels.grid.world((1, 1, 1)), [0, 4, 6])


def test_overlap(layers, tmp_path: Path, caplog):
    layers[1, 1, 1, :3] = 1
    path = layered(tmp_path / "a.seg.nrrd", layers, SEGMENTS)
    with pytest.raises(InputError, match="'lesion' overlaps 'femur' in 3 voxels"):
        read_labels(path)
    labels = read_labels(path, on_overlap="last")
    np.testing.assert_array_equal(labels.mask("lesion"), layers[1] == 1)
    assert labels.mask("femur").sum() == (layers[0] == 1).sum() - 3
    assert "'lesion' takes 3 voxels" in caplog.text


def test_empty_segmentation(tmp_path: Path):
    path = layered(tmp_path / "a.seg.nrrd", np.zeros((1, 1, 1, 1), np.uint8), SEGMENTS[:1])
    with pytest.raises(InputError, match="without a single voxel"):
        read_labels(path)


def test_missing_layer(layers, tmp_path: Path):
    segments = [SEGMENTS[0], SEGMENTS[1] | {"Layer": "4"}]
    with pytest.raises(InputError, match="layer 4 of 2"):
        read_labels(layered(tmp_path / "a.seg.nrrd", layers, segments))
