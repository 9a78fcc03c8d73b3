"""Image files: named decoders only, and a name that says what the bytes are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from salcr.data.images import decode_image
from salcr.datasets.synthetic.generate import synthesize
from salcr.errors import SalcrError
from tests.support import faults, tiny

POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 32 64
%%EndComments
(run) print
%%EOF
"""
# Format as Pillow writes it -> the suffixes of its files, as registered or in common use.
SUFFIXES = {
    "BMP": [".bmp"], "GIF": [".gif"], "JPEG": [".jpg", ".jpeg", ".jpe", ".jfif"], "PNG": [".png"],
    "PPM": [".ppm"], "TIFF": [".tif", ".tiff"], "WEBP": [".webp"],
}  # fmt: skip


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that appears if a program called `gs` is started, as Ghostscript is called."""
    program, mark = tmp_path / "bin/gs", tmp_path / "started"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it remembers where it was
    return mark


def test_pillow_itself_would_start_ghostscript(tmp_path: Path, started: Path) -> None:
    """Without a list of formats it does, whatever the name: the tests below are able to fail."""
    (tmp_path / "x.jpg").write_bytes(POSTSCRIPT)
    with pytest.raises(OSError), Image.open(tmp_path / "x.jpg") as image:  # gs writes no picture
        image.convert("RGB")
    assert started.exists()


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm"])
def test_preprocess_refuses_postscript(
    tmp_path: Path, started: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    """In every layout, under the name of an image: named, nothing written, no program started."""
    sizes = {"num_identities": 4, "images_per_identity": 2, "num_trials": 1, "seed": 1}
    synthesize(tmp_path / "raw", layout=layout, **sizes, height=64, width=32)
    image = next(path for path in (tmp_path / "raw").rglob("*") if path.suffix in (".bmp", ".jpg"))
    image.write_bytes(POSTSCRIPT)
    words = ["--root", tmp_path / "raw", "--layout", layout, "--out", tmp_path / "data"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 1
    assert f"error: {image}: cannot be decoded" in faults.the_error(capsys.readouterr().err)
    assert not started.exists() and not list((tmp_path / "data").glob("*"))


def test_embed_and_search_refuse_postscript(
    stage_one: Path, tmp_path: Path, started: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Skipped by embed, refused as a query, and an empty place on the page if it came later."""
    pictures = tmp_path / "pictures"
    for number, source in enumerate(("Visible/1/visible_00001.bmp", "Thermal/1/thermal_00001.bmp")):
        pictures.mkdir(exist_ok=True)
        shutil.copy(stage_one / "raw" / source, pictures / f"{number}.bmp")
    (pictures / "x.jpg").write_bytes(POSTSCRIPT)
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    assert tiny.run("embed", "--images", pictures, "--out", tmp_path / "index", *network) == 0
    assert 'x.jpg,"cannot be decoded' in (tmp_path / "index/skipped.csv").read_text()
    words = ["search", "--index", tmp_path / "index", *network, "--page", tmp_path / "page.html"]
    capsys.readouterr()
    assert tiny.run(*words, "--query", pictures / "x.jpg") == 1
    assert f"{pictures / 'x.jpg'}: cannot be decoded" in faults.the_error(capsys.readouterr().err)
    (pictures / "0.bmp").write_bytes(POSTSCRIPT)
    assert tiny.run(*words, "--query", pictures / "1.bmp") == 0
    assert (tmp_path / "page.html").exists() and not started.exists()


@pytest.mark.parametrize("form", SUFFIXES)
def test_name_and_content_agree(tmp_path: Path, form: str) -> None:
    """A file of every format is read under its own suffixes, in capitals too, or under none.

    Under the suffix of another format it is refused, with the suffix that it should have.
    """
    picture = Image.fromarray(np.full((8, 4, 3), 128, np.uint8))
    picture.save(tmp_path / "original", format=form)
    for suffix in ["", *SUFFIXES[form], *(suffix.upper() for suffix in SUFFIXES[form])]:
        path = Path(shutil.copy(tmp_path / "original", tmp_path / f"a{suffix}"))
        assert np.abs(decode_image(path, height=8, width=4).astype(int) - 128).max() <= 1
    for suffix in (one for other in SUFFIXES if other != form for one in SUFFIXES[other]):
        path = Path(shutil.copy(tmp_path / "original", tmp_path / f"a{suffix}"))
        wanted = rf"{path}: its content is {form}.*rename it to \{SUFFIXES[form][0]} "
        with pytest.raises(SalcrError, match=wanted):
            decode_image(path, height=8, width=4)


def test_a_jpeg_of_several_pictures_is_a_jpeg(tmp_path: Path) -> None:
    """Cameras write previews into the same file, which Pillow calls MPO: the first one counts."""
    first, second = (Image.fromarray(np.full((16, 8, 3), gray, np.uint8)) for gray in (200, 50))
    first.save(tmp_path / "a.JPG", format="MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.JPG") as image:
        assert image.format == "MPO"
    assert np.abs(decode_image(tmp_path / "a.JPG", height=16, width=8).astype(int) - 200).max() <= 2
    (tmp_path / "a.JPG").rename(tmp_path / "a.png")
    with pytest.raises(SalcrError, match=r"a.png: its content is JPEG.*rename it to \.jpg "):
        decode_image(tmp_path / "a.png", height=16, width=8)
