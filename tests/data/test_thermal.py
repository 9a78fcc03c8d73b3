"""Pictures of 16 bits: the range of each file or folder, against percentiles of numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from salcr.data.images import decode_image, open_image, read_deep
from salcr.data.thermal import ThermalRanges
from salcr.errors import SalcrError
from salcr.files import read_json
from tests.support import faults, own_pictures

SIZE = {"height": 64, "width": 32}


def write(root: Path, name: str, values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Write a gray picture of 16 bits; return its values."""
    Image.fromarray(values).save(own_pictures.place(root, name))
    return values


@pytest.fixture
def pictures(tmp_path: Path, rng: np.random.Generator) -> dict[str, NDArray[np.uint16]]:
    """Write pictures of different warmth in two folders of `own`: name -> values."""
    own_pictures.small(tmp_path / "own")
    ranges = {"n/a.png": (20000, 21000), "n/b.tif": (20500, 23000), "s/c.pgm": (7000, 7400)}
    return {
        f"infrared/{name}": write(
            tmp_path / "own", f"infrared/{name}", rng.integers(*ends, (64, 32), dtype=np.uint16)
        )
        for name, ends in ranges.items()
    }


def scaled(values: NDArray[np.uint16], measured: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return levels 0 .. 255 between the percentiles of the pixels that count."""
    low, high = np.percentile(measured, [1, 99], method="inverted_cdf").astype(float)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


@pytest.mark.parametrize("mode", ["file", "folder"])
def test_stored_images_are_scaled(
    tmp_path: Path, pictures: dict[str, NDArray[np.uint16]], mode: str
) -> None:
    """Every pixel, by the percentiles of its file or of all in its folder; the summary says it.

    Pictures of 8 bits remain as they are.
    """
    words = ["--preprocess-thermal-range", mode]
    assert own_pictures.preprocess(tmp_path / "own", tmp_path / "data", *words) == 0
    manifest = pd.read_csv(tmp_path / "data/manifest.csv").query("modality == 'infrared'")
    stored = np.load(tmp_path / "data/infrared.npy")
    rows = manifest.set_index("file")["row"]
    both = np.stack([pictures["infrared/n/a.png"], pictures["infrared/n/b.tif"]])
    for name, values in pictures.items():
        measured = both if mode == "folder" and name.startswith("infrared/n") else values
        wanted = scaled(values, measured)
        assert (stored[rows[name]] == wanted[..., None]).all(), name
    assert (stored[rows["infrared/2.png"]] == 40).all()
    done = read_json(tmp_path / "data/preprocess.json")["thermal_range"]
    folders = done.pop("folders")
    assert done == {"mode": mode, "percentiles": [1, 99], "pictures": 3}
    assert folders.keys() == ({"infrared/n", "infrared/s"} if mode == "folder" else set())
    for folder, ends in folders.items():
        inside = both if folder == "infrared/n" else pictures["infrared/s/c.pgm"]
        assert ends == np.percentile(inside, [1, 99], method="inverted_cdf").tolist()


def test_refused_by_default_with_the_key(
    tmp_path: Path, pictures: dict[str, NDArray[np.uint16]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of them is named; nothing is stored."""
    assert own_pictures.preprocess(tmp_path / "own", tmp_path / "data") == 1
    error = faults.the_error(capsys.readouterr().err)
    assert f"{tmp_path}/own/infrared/n/a.png: has 16 bits per channel; set " in error
    assert "preprocess.thermal_range" in error and not list((tmp_path / "data").glob("*"))


def test_the_key_has_no_effect_on_pictures_of_8_bits(tmp_path: Path) -> None:
    """Equal files, the summary included, whatever the key is."""
    own_pictures.small(tmp_path / "own")
    for mode in ("refuse", "file", "folder"):
        words = ["--preprocess-thermal-range", mode]
        assert own_pictures.preprocess(tmp_path / "own", tmp_path / mode, *words) == 0
    names = [path.name for path in (tmp_path / "refuse").iterdir()]
    assert "preprocess.json" in names
    for name in names:
        contents = {(tmp_path / mode / name).read_bytes() for mode in ("refuse", "file", "folder")}
        assert len(contents) == 1, name


def test_visible_pictures_of_16_bits_are_refused(
    tmp_path: Path, pictures: dict[str, NDArray[np.uint16]], capsys: pytest.CaptureFixture[str]
) -> None:
    """They are thermal ones in the wrong folder, or need another conversion."""
    write(tmp_path / "own", "visible/deep.png", pictures["infrared/n/a.png"] + 1)
    words = ["--preprocess-thermal-range", "file"]
    assert own_pictures.preprocess(tmp_path / "own", tmp_path / "data", *words) == 1
    error = faults.the_error(capsys.readouterr().err)
    assert "visible/deep.png: has more than 8 bits per channel; convert it to 8" in error


def test_other_deep_pictures_are_refused(tmp_path: Path) -> None:
    """32 bits and floats have no range of 16 bits, whatever the key is."""
    ranges = ThermalRanges("file", tmp_path, [])
    for name, kind in (("i.tif", np.int32), ("f.tif", np.float32)):
        Image.fromarray(np.full((8, 4), 70000, kind)).save(tmp_path / name)
        with pytest.raises(SalcrError, match="more than 8 bits per channel; convert"):
            decode_image(tmp_path / name, **SIZE, range_of=lambda values: ranges.of("x", values))
        with pytest.raises(SalcrError, match="more than 8 bits"):
            read_deep(tmp_path / name)


def test_a_picture_of_one_value_is_black(tmp_path: Path) -> None:
    """Its percentiles are equal; nothing is divided by zero."""
    write(tmp_path, "a.png", np.full((8, 4), 300, np.uint16))
    ranges = ThermalRanges("file", tmp_path, [])
    image = open_image(tmp_path / "a.png", lambda values: ranges.of("a.png", values))
    assert image.mode == "RGB" and not np.asarray(image).any()


def test_exif_orientation_counts(tmp_path: Path) -> None:
    """A picture that a camera stored on its side is turned before it is scaled."""
    values = np.arange(32, dtype=np.uint16).reshape(8, 4) * 100
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    turned = open_image(tmp_path / "a.png", lambda values: (0, 3100))
    wanted = np.rint(np.rot90(values, -1) / 3100 * 255)
    assert (np.asarray(turned)[..., 0] == wanted).all()
