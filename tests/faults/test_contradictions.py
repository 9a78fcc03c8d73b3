"""Random small data sets in every layout, each with one contradiction, none of which is stored."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import tiny
from tests.support.small_data import LAYOUTS, DataSet

Contradiction = Callable[[DataSet, st.DataObject], None]


def exchange(first: str, second: str) -> Contradiction:
    """Return the contradiction of two exchanged split files of the first trial."""

    def contradict(data: DataSet, choice: st.DataObject) -> None:
        names = [f"idx/{name}.txt" for name in (first, second)]
        lists = [data.lists[name] for name in names]
        data.lists |= dict(zip(names, reversed(lists), strict=True))

    return contradict


def _labeled(data: DataSet, name: str) -> dict[str, list[int]]:
    """Return label -> positions of its lines in a list, without unlabeled lines."""
    positions: dict[str, list[int]] = {}
    for position, (file, label) in enumerate(data.lists[name]):
        if label != "-1" and "._" not in file:
            positions.setdefault(label, []).append(position)
    return positions


def _any_list(data: DataSet, choice: st.DataObject, split: str = "") -> str:
    return choice.draw(st.sampled_from([name for name in data.lists if split in name]))


def _relabel(data: DataSet, name: str, labels: dict[str, str]) -> None:
    data.lists[name] = [(file, labels.get(label, label)) for file, label in data.lists[name]]


def exchange_labels(data: DataSet, choice: st.DataObject) -> None:
    """Exchange the labels of two people in one list: they are others in the other modality."""
    name = _any_list(data, choice)
    first, second = list(_labeled(data, name))[:2]
    _relabel(data, name, {first: second, second: first})


def merge_people(data: DataSet, choice: st.DataObject) -> None:
    """Give two people one label in all lists of a split, which agree with each other."""
    split = choice.draw(st.sampled_from(["train", "test"]))
    names = [name for name in data.lists if split in name and "2.txt" not in name]
    first, second = list(_labeled(data, names[0]))[:2]
    for name in names:
        _relabel(data, name, {second: first})


def split_person(data: DataSet, choice: st.DataObject) -> None:
    """Give one image of a person another label."""
    name = _any_list(data, choice)
    _set_label(data, choice, name, "77")


def large_label(data: DataSet, choice: st.DataObject) -> None:
    """Give an image a label that no 64 bits hold."""
    digits = choice.draw(st.sampled_from([str(2**63), "9" * 23, "1" * 5000]))
    _set_label(data, choice, _any_list(data, choice), digits)


def unknown_test_person(data: DataSet, choice: st.DataObject) -> None:
    """Give a test image the label of unknown people."""
    _set_label(data, choice, _any_list(data, choice, "test"), "-1")


def _set_label(data: DataSet, choice: st.DataObject, name: str, label: str) -> None:
    positions = [one for lines in _labeled(data, name).values() for one in lines]
    position = choice.draw(st.sampled_from(positions))
    data.lists[name][position] = (data.lists[name][position][0], label)


def list_twice(data: DataSet, choice: st.DataObject) -> None:
    """List an image again under any label."""
    lines = data.lists[_any_list(data, choice)]
    lines.append((choice.draw(st.sampled_from(lines[:-1]))[0], choice.draw(st.sampled_from("01"))))


def train_on_test_person(data: DataSet, choice: st.DataObject) -> None:
    """Train on one image of a test person, in either modality, with a label or without."""
    name = _any_list(data, choice, "test")
    line = data.lists[name].pop(choice.draw(st.integers(0, len(data.lists[name]) - 1)))
    label = choice.draw(st.sampled_from(["-1", "0", "50"]))
    data.lists[name.replace("test", "train")].append((line[0], label))


def remove_image(data: DataSet, choice: st.DataObject) -> None:
    """Delete an image that a list names."""
    lines = [line for line in data.lists[_any_list(data, choice)] if "._" not in line[0]]
    data.images.remove(choice.draw(st.sampled_from(lines))[0])


def drop_person(data: DataSet, choice: st.DataObject) -> None:
    """Remove a test person from one of the two modalities' lists."""
    name = _any_list(data, choice, "test")
    label = choice.draw(st.sampled_from(sorted(_labeled(data, name))))
    data.lists[name] = [line for line in data.lists[name] if line[1] != label]


def rename_part(pattern: str, replacement: str) -> Contradiction:
    """Return the contradiction of one image whose path says something else."""

    def contradict(data: DataSet, choice: st.DataObject) -> None:
        fitting = sorted(name for name in data.images if re.search(pattern, name))
        old = choice.draw(st.sampled_from(fitting))
        data.rename(old, re.sub(pattern, replacement, old))

    return contradict


def one_camera(data: DataSet, choice: st.DataObject) -> None:
    """Let one camera see all test images of LLCM: matches of one camera do not count."""
    for name in ("idx/test_vis.txt", "idx/test_nir.txt"):
        for file, _ in {re.sub(r"_c\d+_s\d", "", one[0]): one for one in data.lists[name]}.values():
            data.rename(
                file, re.sub(r"_c\d+", "_c03", file.replace("test_", "").replace("cam", ""))
            )
        data.lists[name] = [line for line in data.lists[name] if "_c03" in line[0]]


def only_excluded_cameras(data: DataSet, choice: st.DataObject) -> None:
    """Leave SYSU-MM01's test people in cameras 2 and 3 alone, whose pairs do not count."""
    people = {f"{int(number):04}" for number, _ in data.lists["exp/test_id.txt"]}
    data.images = {
        name for name in data.images if name.split("/")[1] not in people or name[:4] in "cam2 cam3"
    }


def no_common_people(data: DataSet, choice: st.DataObject) -> None:
    """Let each modality see another half of SYSU-MM01's test people."""
    first, second = (f"{int(number):04}" for number, _ in data.lists["exp/test_id.txt"])
    hidden = {
        f"cam{c}/{who}" for who, cameras in ((first, "36"), (second, "1245")) for c in cameras
    }
    data.images = {name for name in data.images if name.rpartition("/")[0] not in hidden}


def repeat_identity(first: str, second: str) -> Contradiction:
    """Return the contradiction of one identity in two lists, or twice in one."""

    def contradict(data: DataSet, choice: st.DataObject) -> None:
        number, _ = choice.draw(st.sampled_from(data.lists[f"exp/{first}_id.txt"]))
        spelled = choice.draw(st.sampled_from([number, f"00{number}"]))
        data.lists[f"exp/{second}_id.txt"].append((spelled, ""))

    return contradict


def large_identity(data: DataSet, choice: st.DataObject) -> None:
    """List an identity that no 64 bits hold."""
    data.lists[_any_list(data, choice)].append(("9" * 23, ""))


def respell_folder(data: DataSet, choice: st.DataObject) -> None:
    """Rename the folder of a person in one camera: its images would be left out."""
    numbers = [number for lines in data.lists.values() for number, _ in lines]
    number, camera = choice.draw(st.sampled_from(numbers)), choice.draw(st.integers(1, 6))
    old = f"cam{camera}/{int(number):04}/0001.jpg"
    data.rename(old, f"cam{camera}/{int(number):05}/0001.jpg")


def seventh_camera(data: DataSet, choice: st.DataObject) -> None:
    """Add a camera that SYSU-MM01 does not have."""
    name = choice.draw(st.sampled_from(["cam7", "cam0", "cam01", "CAM2"]))
    data.images.add(f"{name}/0001/0001.jpg")


LISTS = {
    "exchange_labels": exchange_labels,
    "merge_people": merge_people,
    "split_person": split_person,
    "large_label": large_label,
    "unknown_test_person": unknown_test_person,
    "list_twice": list_twice,
    "train_on_test_person": train_on_test_person,
    "remove_image": remove_image,
}
CONTRADICTIONS: dict[str, dict[str, Contradiction]] = {
    "regdb": LISTS | {
        "halves of thermal": exchange("train_thermal_1", "test_thermal_1"),
        "halves of visible": exchange("train_visible_1", "test_visible_1"),
        "modalities of train": exchange("train_visible_1", "train_thermal_1"),
        "modalities of test": exchange("test_visible_1", "test_thermal_1"),
        "drop_person": drop_person,
    },
    "llcm": LISTS | {
        "halves of nir": exchange("train_nir", "test_nir"),
        "halves of vis": exchange("train_vis", "test_vis"),
        "modalities of train": exchange("train_vis", "train_nir"),
        "modalities of test": exchange("test_vis", "test_nir"),
        "name of another modality": rename_part(r"_vis\.jpg", "_nir.jpg"),
        "name of another person": rename_part(r"\d{4}(_c\d+)", r"2222\1"),
        "name of a large person": rename_part(r"\d{4}(_c\d+)", rf"{'9' * 23}\1"),
        "folder of another person": rename_part(r"/\d{4}/", "/2222/"),
        "camera of another number": rename_part(r"_c\d\d", "_c10"),
        "one_camera": one_camera,
    },
    "sysu": {
        "train and test": repeat_identity("train", "test"),
        "val and test": repeat_identity("test", "val"),
        "train and val": repeat_identity("val", "train"),
        "twice": repeat_identity("test", "test"),
        "large_identity": large_identity,
        "respell_folder": respell_folder,
        "seventh_camera": seventh_camera,
        "only_excluded_cameras": only_excluded_cameras,
        "no_common_people": no_common_people,
    },
}  # fmt: skip
WITHOUT_A_LINE = {"remove_image", "respell_folder", "seventh_camera", "one_camera",
                  "only_excluded_cameras", "no_common_people"}  # fmt: skip


def preprocess(data: DataSet, folder: Path) -> int:
    """Write and preprocess a data set in a folder; return the exit status."""
    data.write(folder / "raw")
    words = ["--root", folder / "raw", "--layout", data.layout, "--out", folder / "data"]
    size = ["--preprocess-height", "32", "--preprocess-width", "16"]
    return tiny.run("preprocess", *words, *size, "--allow-subset")


few = settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("layout", LAYOUTS)
@few
@given(choice=st.data())
def test_without_a_contradiction_everybody_is_read(layout: str, choice: st.DataObject) -> None:
    """Each image is stored with trial, split, modality and identity as drawn, and no other."""
    data = choice.draw(LAYOUTS[layout])
    with tempfile.TemporaryDirectory() as folder:
        assert preprocess(data, Path(folder)) == 0
        keys = ["trial", "split", "modality"]
        tables = [pd.read_csv(f"{folder}/data/{name}.csv") for name in ("manifest", "identities")]
    assert tables[0][keys].equals(tables[1][keys])
    stored = tables[0].assign(identity=tables[1]["identity"])
    lines = stored[[*keys, "file", "identity"]].itertuples(index=False)
    assert {tuple(line[:4]): line[4] for line in lines} == data.people
    assert len(stored) == len(data.people)


@pytest.mark.parametrize(
    ("layout", "kind"),
    [(layout, kind) for layout, kinds in CONTRADICTIONS.items() for kind in kinds],
)
@few
@given(choice=st.data())
def test_no_contradiction_is_stored(
    capsys: pytest.CaptureFixture[str], layout: str, kind: str, choice: st.DataObject
) -> None:
    """One error names the data set, and the line if a list is wrong; nothing is written."""
    data = choice.draw(LAYOUTS[layout])
    CONTRADICTIONS[layout][kind](data, choice)
    with tempfile.TemporaryDirectory() as folder:
        capsys.readouterr()
        assert preprocess(data, Path(folder)) == 1
        text = capsys.readouterr().err
        assert not (Path(folder) / "data").exists()
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in text
    assert f"{folder}/raw" in errors[0]
    assert kind in WITHOUT_A_LINE or re.search(r"_(1|2|id|vis|nir)\.txt, line \d+: ", errors[0])
