"""Random small data sets in the three layouts, for tests that contradict them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

Line = tuple[str, str]
"""Path and label; of SYSU-MM01, an identity and nothing."""


@dataclass
class DataSet:
    """A data set that is written when it is complete."""

    layout: str
    lists: dict[str, list[Line]]
    """Split file -> its lines."""
    images: set[str]
    people: dict[tuple[int, str, str, str], int]
    """(trial, split, modality, file) -> identity: what a reader has to find."""

    def write(self, root: Path) -> None:
        """Write split files and images."""
        for name in self.images:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8), (200, 100, 50)).save(root / name)
        for name, lines in self.lists.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("".join(f"{' '.join(line).strip()}\n" for line in lines))

    def rename(self, old: str, new: str) -> None:
        """Rename an image, in its folder and in the lists."""
        self.images = {new if name == old else name for name in self.images}
        for lines in self.lists.values():
            lines[:] = [(new if file == old else file, label) for file, label in lines]


@st.composite
def regdb(draw: st.DrawFn) -> DataSet:
    """Return RegDB: folders named by numbers or words, labels in any order, some without."""
    data = DataSet("regdb", {}, set(), {})
    form = draw(st.sampled_from(["{}", "{:03}", "p{}"]))
    numbers = draw(st.lists(st.integers(0, 412), min_size=5, max_size=6, unique=True))
    for trial in range(1, draw(st.integers(1, 2)) + 1):
        shuffled = draw(st.permutations(numbers))
        for split, members in (("train", shuffled[2:]), ("test", shuffled[:2])):
            labels = draw(st.permutations(range(len(members))))
            for modality, word in (("visible", "visible"), ("infrared", "thermal")):
                lines = data.lists.setdefault(f"idx/{split}_{word}_{trial}.txt", [])
                for person, label in zip(members, labels, strict=True):
                    for image in range(2):
                        file = f"{word.capitalize()}/{form.format(person)}/{image}.bmp"
                        lines.append((file, str(label)))
                        data.images.add(file)
                        data.people[trial, split, modality, file] = label
    _add_unlabeled(draw, data, "train_visible_1", ["Visible/somebody/0.bmp", "Visible/1 2/0.bmp"])
    return data


@st.composite
def llcm(draw: st.DrawFn) -> DataSet:
    """Return LLCM: identity and camera in the names, in folders of either kind."""
    data = DataSet("llcm", {}, set(), {})
    numbers = draw(st.lists(st.integers(1, 1064), min_size=4, max_size=5, unique=True))
    with_cameras = draw(st.booleans())
    for split, members in (("train", numbers[2:]), ("test", numbers[:2])):
        labels = draw(st.permutations(range(len(members))))
        for modality, word, cameras in (("visible", "vis", (1, 9)), ("infrared", "nir", (2, 5))):
            lines = data.lists.setdefault(f"idx/{split}_{word}.txt", [])
            for person, label in zip(members, labels, strict=True):
                for camera in cameras:
                    folder = f"test_{word}/cam{camera}" if with_cameras else word
                    name = f"{person:04}_c{camera:02}_s1_f2_{word}.jpg"
                    file = f"{folder}/{person:04}/{name}"
                    lines.append((file, str(label)))
                    data.images.add(file)
                    data.people[1, split, modality, file] = person
    _add_unlabeled(draw, data, "train_nir", ["nir/2000/2000_c04_s1_f1_nir.jpg"])
    return data


def _add_unlabeled(draw: st.DrawFn, data: DataSet, name: str, files: list[str]) -> None:
    """List training images without a label, and a file of macOS that is not an image."""
    for file in draw(st.sampled_from([[], files])):
        data.lists[f"idx/{name}.txt"].append((file, "-1"))
        data.images.add(file)
        data.people[1, "train", "infrared" if "nir" in name else "visible", file] = -1
    data.lists[f"idx/{name}.txt"].append(("Visible/._0.bmp", "0"))


@st.composite
def sysu(draw: st.DrawFn) -> DataSet:
    """Return SYSU-MM01 with videos and files of macOS beside its images."""
    data = DataSet("sysu", {}, set(), {})
    numbers = draw(st.lists(st.integers(1, 533), min_size=5, max_size=6, unique=True))
    for word, members in (("train", numbers[3:]), ("val", numbers[2:3]), ("test", numbers[:2])):
        split = "test" if word == "test" else "train"
        data.lists[f"exp/{word}_id.txt"] = [(str(number), "") for number in members]
        for camera in range(1, 7):
            modality = "infrared" if camera in (3, 6) else "visible"
            for number in members:
                file = f"cam{camera}/{number:04}/0001.jpg"
                data.images.add(file)
                data.people[1, split, modality, file] = number
    if draw(st.booleans()):
        data.images |= {f"cam1_video_train/{numbers[0]:04}/0001.jpg", "camera notes/0001.jpg"}
        data.images.add(f"cam1/{numbers[0]:04}/._0001.jpg")
    return data


LAYOUTS: dict[str, st.SearchStrategy[DataSet]] = {"regdb": regdb(), "llcm": llcm(), "sysu": sysu()}
