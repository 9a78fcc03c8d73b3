"""`embed`: folders of images yield the features used in evaluation, whatever they contain."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from salcr.data import workers
from salcr.data.images import decode_image
from salcr.errors import SalcrError
from salcr.models.network import Network
from salcr.search import blocks
from salcr.search.images import guess_modality
from tests.support import tiny
from tests.support.helpers import close

FILES = (
    "index.faiss", "features.npy", "digests.npy", "files.csv", "skipped.csv", "embed.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(stage_one: Path) -> Path:
    """Return a folder with the tiny data and a network after stage one."""
    return stage_one


@pytest.fixture
def pictures(trained: Path, tmp_path: Path) -> Path:
    """Return a folder with six visible and six infrared images, in separate folders."""
    for modality, source in (("visible", "Visible"), ("infrared", "Thermal")):
        for number, path in enumerate(sorted((trained / "raw" / source).rglob("*.bmp"))[:30:5]):
            target = tmp_path / "pictures" / modality / f"{number % 2}/{number}.bmp"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return tmp_path / "pictures"


def embed(trained: Path, out: Path, *folders: Path, extra: tuple[object, ...] = ()) -> int:
    """Run the stage on folders."""
    return tiny.run(*words_of(trained, out, *folders), *extra)


def words_of(trained: Path, out: Path, *folders: Path) -> list[object]:
    """Return the command."""
    checkpoint = trained / "round00/checkpoint.pt"
    return ["embed", "--images", *folders, "--checkpoint", checkpoint, "--out", out]


def printed_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output of a failed run: one error, no traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert sum(line.startswith("error: ") for line in text.splitlines()) == 1
    return text


def test_features_are_the_mean_of_image_and_mirror_image(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    """Rows equal those computed here by hand from the files, in the order of files.csv."""
    assert embed(trained, tmp_path / "index", pictures) == 0
    checkpoint = torch.load(trained / "round00/checkpoint.pt", weights_only=True)
    assert checkpoint["image_size"] == [64, 32]
    network = Network(**checkpoint["model"])
    network.load_state_dict(checkpoint["state"])
    network.eval()
    lines = pd.read_csv(tmp_path / "index/files.csv")
    assert sorted(lines["file"]) == lines["file"].tolist() and len(lines) == 12
    expected = []
    for line in lines.itertuples():
        assert line.modality == line.file.split("/")[0]
        image = np.asarray(Image.open(pictures / line.file)) / np.float32(255)
        image = (image - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
        with torch.no_grad():
            views = [torch.from_numpy(np.ascontiguousarray(x)) for x in (image, image[:, ::-1])]
            both = [network(v.permute(2, 0, 1)[None], line.modality)[0][0] for v in views]
        mean = sum(view / view.norm() for view in both)
        expected.append((mean / mean.norm()).numpy())
    features = np.load(tmp_path / "index/features.npy")
    assert features.dtype == np.float32
    close(features, np.stack(expected))
    import faiss

    index = faiss.read_index(str(tmp_path / "index/index.faiss"))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert np.array_equal(index.reconstruct_n(0, index.ntotal), features)


def test_a_given_modality_is_used_and_a_missing_one_guessed(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One word per folder, in the same order; a guess comes with a warning that counts images."""
    folders = [pictures / "infrared", pictures / "visible"]
    words = ("--modality", "visible", "infrared")  # the wrong way round, but as specified
    assert embed(trained, tmp_path / "given", *folders, extra=words) == 0
    assert "guessed" not in capsys.readouterr().err
    lines = pd.read_csv(tmp_path / "given/files.csv")
    assert lines.groupby("folder")["modality"].unique().map(list).tolist() == [
        ["visible"], ["infrared"]
    ]  # fmt: skip
    assert embed(trained, tmp_path / "guessed", *folders) == 0
    assert "guessed from the channels: 6 infrared, 6 visible" in capsys.readouterr().err


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_gray_is_guessed_through_jpeg(
    trained: Path, tmp_path: Path, quality: int, rng: np.random.Generator
) -> None:
    """JPEG, noise and a slight tint keep infrared images infrared, and visible ones visible."""
    for source, modality in (("Visible/1", "visible"), ("Thermal/1", "infrared")):
        for path in sorted((trained / "raw" / source).glob("*.bmp")):
            pixels = np.asarray(Image.open(path)) + rng.normal([0, 1, 2], 1, (64, 32, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / "p.jpg", quality=quality)
            assert guess_modality(decode_image(tmp_path / "p.jpg", height=64, width=32)) == modality


def test_files_that_are_not_images_are_skipped_and_listed(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts, damaged and dangerous images, pipes, circular links: named with the reason.

    Names that begin with a dot, of files or folders, are not listed at all.
    """
    intact = next(pictures.rglob("*.bmp"))
    put = pictures / "zoo"
    put.mkdir()
    (put / "notes.txt").write_text("no picture")
    (put / "empty.jpg").touch()
    (put / "text.png").write_text("no picture")
    (put / "half.bmp").write_bytes(intact.read_bytes()[:900])
    Image.new("1", (20_000, 20_000)).save(put / "bomb.png")
    Image.fromarray(np.full((9, 9), 900, np.uint16)).save(put / "deep.png")
    os.mkfifo(put / "pipe.png")
    (put / "nowhere.png").symlink_to(tmp_path / "nowhere")
    (put / "around").symlink_to(pictures)
    shutil.copy(intact, put / ".hidden.bmp")
    (put / "._0.bmp").touch()
    (put / ".thumbnails").mkdir()
    shutil.copy(intact, put / ".thumbnails/0.bmp")
    shutil.copy(intact, put / "two\nlines.bmp")
    shutil.copy(intact, os.fsencode(put) + b"/latin\xe9.bmp")
    assert embed(trained, tmp_path / "index", pictures) == 0
    skipped = pd.read_csv(tmp_path / "index/skipped.csv")
    reasons = {Path(line.file).name: line.reason for line in skipped.itertuples()}
    parts = {
        "notes.txt": "the name of an image", "empty.jpg": "cannot be decoded",
        "text.png": "cannot be decoded", "half.bmp": "truncated", "bomb.png": "bomb",
        "deep.png": "more than 8 bits", "pipe.png": "not a regular", "nowhere.png": "is missing",
        "around": "link to a folder", "two\\nlines.bmp": "rename", "latin\\udce9.bmp": "rename",
    }  # fmt: skip
    assert reasons.keys() == parts.keys()
    assert all(part in reasons[name] for name, part in parts.items())
    assert "11 files skipped, see " in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "index/files.csv")) == 12


def png_of_16_bits(path: Path) -> None:
    """Write a color image of two bytes per channel, which Pillow can read but not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    lines = (b"\0" + bytes(4 * 6)) * 4
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_16_bits_a_channel_are_refused_in_color_too(tmp_path: Path) -> None:
    """Pillow keeps only the upper byte: 14-bit values would become almost black."""
    png_of_16_bits(tmp_path / "deep.png")
    with pytest.raises(SalcrError, match="more than 8 bits per channel"):
        decode_image(tmp_path / "deep.png", height=8, width=8)


@pytest.mark.parametrize("kind", ["RGBA", "CMYK", "L", "LA", "P", "1", "turned"])
def test_every_kind_of_image_is_read_as_color(tmp_path: Path, kind: str) -> None:
    """Transparent, CMYK, gray, palette and rotated images give the colors that they show."""
    colors = Image.new("RGB", (32, 64), (204, 204, 204))  # in the palette, like the others
    colors.paste((255, 255, 255) if kind in ("L", "LA", "1") else (255, 51, 0), (0, 0, 32, 32))
    path, expected = tmp_path / "p.tif", np.asarray(colors.convert("1" if kind == "1" else "RGB"))
    if kind == "turned":  # as written by a phone held upright
        path, exif = tmp_path / "p.png", Image.Exif()
        exif[0x0112] = 6
        colors.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    else:
        colors.convert(kind).save(path)
    decoded = decode_image(path, height=64, width=32)
    expected = np.asarray(Image.fromarray(expected).convert("RGB"))
    assert decoded.shape == (64, 32, 3) and np.abs(decoded.astype(int) - expected).max() <= 3


def test_a_killed_run_resumes_with_the_same_bytes(
    trained: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedded: list[int],
) -> None:
    """Killed with -9 after two blocks, a second run computes only the rest, with equal bytes."""
    monkeypatch.setattr(blocks, "_BLOCK", 3)
    (pictures / "b.txt").touch()
    assert embed(trained, tmp_path / "complete", pictures) == 0
    code = (
        "import os, sys; from salcr import files, __main__; from salcr.search import blocks\n"
        "blocks._BLOCK = 3; write = files.write_arrays\n"
        "def killed(path, arrays):\n"
        "    if path.name.startswith('000002'): os.kill(os.getpid(), 9)\n"
        "    write(path, arrays)\n"
        "files.write_arrays = killed; __main__.main(sys.argv[1:])"
    )
    words = [str(word) for word in words_of(trained, tmp_path / "killed", pictures)]
    done = subprocess.run([sys.executable, "-c", code, *words], check=False)
    assert done.returncode == -9
    assert len(list((tmp_path / "killed/blocks").glob("*.npz"))) == 2
    embedded.clear()
    assert embed(trained, tmp_path / "killed", pictures) == 0
    assert sum(embedded) == 12 - 5 and max(embedded) <= 3  # of the first six files one is b.txt
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / f"killed/{name}").read_bytes() == (
            tmp_path / f"complete/{name}"
        ).read_bytes(), name


def test_the_number_of_processes_changes_no_byte(
    trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures, guesses, and reasons of files that are none are those of one process."""
    monkeypatch.setattr(blocks, "_BLOCK", 5)
    monkeypatch.setattr(workers, "_ITEMS_AT_ONCE", 2)
    (pictures / "b.txt").touch()
    (pictures / "visible/0/empty.jpg").touch()
    for number in (0, 1, 3):
        assert embed(trained, tmp_path / f"{number}", pictures, extra=("--workers", number)) == 0
        for name in FILES:
            expected = (tmp_path / f"0/{name}").read_bytes()
            assert (tmp_path / f"{number}/{name}").read_bytes() == expected, name


def test_a_process_that_is_killed_ends_the_run_with_a_message(
    trained: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As by the system when the memory is full; the same command resumes with fewer."""
    compute = workers._Worker.compute

    def killed(self: workers._Worker, *arguments: Any) -> list[Any]:
        self._process.kill()
        return compute(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(workers._Worker, "compute", killed)
        capsys.readouterr()
        assert embed(trained, tmp_path / "index", pictures, extra=("--workers", 2)) == 1
    assert "--workers was ended by SIGKILL" in printed_error(capsys)
    assert embed(trained, tmp_path / "index", pictures, extra=("--workers", 1)) == 0


@pytest.mark.parametrize("change", ["picture", "modality", "name"])
def test_blocks_of_other_images_are_not_used(
    trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The index contains files as they are now, if they changed after the run was stopped."""
    monkeypatch.setattr(blocks, "_BLOCK", 3)
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "_finish", stopped)
        assert embed(trained, tmp_path / "index", pictures) == 130
    assert len(list((tmp_path / "index/blocks").glob("*.npz"))) == 4
    first, *_, last = sorted(pictures.rglob("*.bmp"))
    words = ("--modality", "visible") if change == "modality" else ()
    if change == "picture":
        shutil.copy(last, first)
    elif change == "name":
        first.rename(pictures / "0.bmp")
    for out in ("index", "anew"):
        assert embed(trained, tmp_path / out, pictures, extra=words) == 0
    for name in FILES:
        assert (tmp_path / "index" / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()


def stopped(*_: object) -> None:
    """Act like Ctrl-C."""
    raise KeyboardInterrupt


def test_a_complete_index_is_kept(trained: Path, pictures: Path, tmp_path: Path) -> None:
    """A second run does nothing; without its file, or with another image, the index is rebuilt."""
    assert embed(trained, tmp_path / "index", pictures) == 0
    before = (tmp_path / "index/index.faiss").stat().st_mtime_ns
    assert embed(trained, tmp_path / "index", pictures) == 0
    assert (tmp_path / "index/index.faiss").stat().st_mtime_ns == before
    (tmp_path / "index/index.faiss").unlink()
    assert embed(trained, tmp_path / "index", pictures) == 0
    assert (tmp_path / "index/index.faiss").exists()
    shutil.copy(next(pictures.rglob("*.bmp")), pictures / "new.BMP")
    assert embed(trained, tmp_path / "index", pictures) == 0
    summary = json.loads((tmp_path / "index/embed.json").read_text())
    assert sum(summary["num_pictures"].values()) == 13


def test_an_index_of_other_folders_is_not_replaced(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another folder alone is refused; with the first one it extends the index."""
    visible, infrared = pictures / "visible", pictures / "infrared"
    assert embed(trained, tmp_path / "index", visible) == 0
    before = (tmp_path / "index/embed.json").read_bytes()
    capsys.readouterr()
    assert embed(trained, tmp_path / "index", infrared) == 1
    assert f"is an index of {visible}" in printed_error(capsys)
    assert (tmp_path / "index/embed.json").read_bytes() == before
    assert embed(trained, tmp_path / "index", infrared, visible) == 0
    assert len(pd.read_csv(tmp_path / "index/files.csv")) == 12
    (tmp_path / "index/embed.json").write_text("damaged")
    assert embed(trained, tmp_path / "index", infrared) == 0


def test_two_runs_do_not_write_one_index(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While one run writes, a second one is refused, whatever its folders; later it may write."""
    code = (
        "import sys; from salcr import __main__; from salcr.search import blocks\n"
        "def wait(*_): print('writing', flush=True); sys.stdin.read(); sys.exit()\n"
        "blocks._finish = wait; __main__.main(sys.argv[1:])"
    )
    words = [str(word) for word in words_of(trained, tmp_path / "index", pictures / "visible")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None and first.stdout.readline() == b"writing\n"
        capsys.readouterr()
        assert embed(trained, tmp_path / "index", pictures / "infrared") == 1
        message = f"{tmp_path / 'index'}: another process is writing to it"
        assert message in printed_error(capsys)
        first.communicate(b"")
    assert embed(trained, tmp_path / "index", pictures / "infrared") == 0


def test_folders_that_cannot_be_an_index_are_refused(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty, a missing or a repeated folder, and too many modalities for the folders."""
    (tmp_path / "empty").mkdir()
    assert embed(trained, tmp_path / "index", tmp_path / "empty") == 1
    assert f"{tmp_path / 'empty'}: no readable images" in printed_error(capsys)
    assert embed(trained, tmp_path / "index", tmp_path / "gone") == 1
    assert f"{tmp_path / 'gone'}: no such folder" in printed_error(capsys)
    picture = next(pictures.rglob("*.bmp"))
    assert embed(trained, tmp_path / "index", picture) == 1
    assert f"{picture}: is not a folder" in printed_error(capsys)
    assert embed(trained, trained, pictures) == 1  # where data and networks are
    assert f"--out {trained}: holds " in printed_error(capsys)
    diary = tmp_path / "mine/blocks/diary.txt"
    diary.parent.mkdir(parents=True)
    diary.touch()
    assert embed(trained, tmp_path / "mine", pictures) == 1
    assert "holds blocks/diary.txt" in printed_error(capsys) and diary.exists()
    assert embed(trained, tmp_path / "index", pictures, pictures / "visible") == 1
    assert "among those of" in printed_error(capsys)
    words = ("--modality", "visible", "infrared")
    assert embed(trained, tmp_path / "index", pictures, extra=words) == 1
    assert "2 words for 1 folders" in printed_error(capsys)
    assert embed(trained, pictures / "index", pictures) == 1
    assert "is among the images" in printed_error(capsys)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").touch()
    assert embed(trained, tmp_path / "index", tmp_path / "texts") == 1
    text = printed_error(capsys)
    assert "no readable images" in text and "a.txt: does not have the name of an image" in text
    assert not list((tmp_path / "index").glob("*"))


def test_networks_that_cannot_embed_are_refused(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint without image sizes, from an earlier version, and one without a network."""
    checkpoint = torch.load(trained / "round00/checkpoint.pt", weights_only=True)
    (tmp_path / "old/round00").mkdir(parents=True)
    old = tmp_path / "old/round00/checkpoint.pt"
    torch.save({k: v for k, v in checkpoint.items() if k != "image_size"}, old)
    assert embed(tmp_path / "old", tmp_path / "index", pictures) == 1
    assert f"{old}: is by an older version" in printed_error(capsys)
    torch.save({"format": 1, "adam": {}}, old)
    assert embed(tmp_path / "old", tmp_path / "index", pictures) == 1
    assert f"{old}: is not the checkpoint.pt of a round" in printed_error(capsys)
    assert not (tmp_path / "index").exists()
