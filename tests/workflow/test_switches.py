"""Every switch of the paper runs on tiny data, and has the effect described here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torchvision.models import resnet18

from tests.support import tiny


@pytest.fixture
def folders(stage_one: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the data and a separate folder that continues stage one."""
    (tmp_path / "round00").symlink_to(stage_one / "round00")
    return stage_one / "data", tmp_path


@pytest.mark.parametrize("method", ["dagl", "otla", "pgm", "mbccm"])
def test_each_association_trains(folders: tuple[Path, Path], method: str) -> None:
    """Each association gives clustered images the labels of its spaces, and train accepts them."""
    data, out = folders
    assert tiny.associate(data, out, 1, "--associate-method", method) == 0
    labels = pd.read_csv(out / "round01/labels.csv").query("cluster >= 0")
    none = labels.query("modality == 'visible'")["infrared_space"] == -1
    assert none.all() if method == "otla" else not none.any()
    space = "visible" if method == "otla" else "dual"
    assert tiny.train(data, out, 1, "--train-label-space", space) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--train-label-space", "infrared"],
        ["--fgsal-enabled", "false", "--gpcr-mode", "none"],
        ["--fgsal-enabled", "false", "--gpcr-mode", "global"],
        ["--fgsal-enabled", "false"],
        ["--gpcr-mode", "part"],
        ["--fgsal-parts", "2"],
        ["--fgsal-parts", "4"],
        ["--fgsal-released-cross-pattern", "true"],
        ["--gpcr-weight", "0.1"],
    ],
    ids=lambda words: " ".join(words),
)
def test_each_switch_of_training_changes_the_network(
    folders: tuple[Path, Path], words: list[str]
) -> None:
    """A round with the switch set ends with a different network than one without it."""
    data, out = folders
    assert tiny.associate(data, out, 1) == 0
    networks = []
    for extra in ([], words):
        assert tiny.train(data, out, 1, *extra) == 0
        state = torch.load(out / "round01/checkpoint.pt", weights_only=True)["state"]
        networks.append(state["trunk.layer1.0.conv1.weight"])
    assert not torch.equal(*networks)


def evaluated(folders: tuple[Path, Path], *extra: object) -> dict[str, dict[str, list[Any]]]:
    """Return the metrics of stage one's network: setting -> ranking -> sampled galleries."""
    data, out = folders
    words = ["--data", data, "--trial", 1, "--checkpoint", out / "round00/checkpoint.pt"]
    words += ["--identities", data / "identities.csv", "--metrics", out / "metrics.json"]
    words += ["--rankings", out / "rankings.json", "--job", out / "job.json"]
    assert tiny.run("evaluate", *words, *extra) == 0
    return json.loads((out / "metrics.json").read_text())["settings"]


def test_rerankings_have_separate_rows(folders: tuple[Path, Path]) -> None:
    """Plain metrics do not change next to re-rankings, which state if they are transductive."""
    plain = evaluated(folders)
    both = evaluated(folders, "--evaluate-rerank", "[cmfp, aim, cmrr]", "--evaluate-cmrr-k", "3")
    for setting, rankings in both.items():
        assert list(rankings) == [
            "none", "cmfp k=8 (transductive)", "aim k1=8 k2=2", "cmrr k=3 (transductive)"
        ]  # fmt: skip
        assert rankings["none"] == plain[setting]["none"]
        assert all(0 < draws[0]["map"] <= 1 for draws in rankings.values())


def test_a_list_of_k_gives_each_a_row(folders: tuple[Path, Path]) -> None:
    """Each k of a list has the metrics that it has alone, and seconds among the job's facts."""
    words = ["--evaluate-rerank", "[cmfp]", "--evaluate-cmfp-k"]
    together = evaluated(folders, *words, "[2, 5]")
    seconds = json.loads((folders[1] / "job.json").read_text())["rerank_seconds"]
    for setting, rankings in together.items():
        assert list(rankings) == ["none", "cmfp k=2 (transductive)", "cmfp k=5 (transductive)"]
        assert list(seconds[setting]) == list(rankings)
        assert all(0 <= taken < 60 for taken in seconds[setting].values())
    assert "seconds" not in (folders[1] / "metrics.json").read_text()
    for k in (2, 5):
        for setting, rankings in evaluated(folders, *words, k).items():
            name = f"cmfp k={k} (transductive)"
            assert rankings[name] == together[setting][name]


def test_the_open_set_is_evaluated_beside(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Switched on, it adds to the metrics; off, metrics and record are those without the key."""
    contents, records = [], []
    for words in ([], ["--evaluate-open-set", "false"], ["--evaluate-open-set", "true"]):
        evaluated(folders, *words)
        contents.append((folders[1] / "metrics.json").read_bytes())
        records.append(json.loads((folders[1] / "job.json").read_text())["config"]["evaluate"])
    assert contents[0] == contents[1] and records[0] == records[1]
    assert "open_set" not in records[0] and records[2] == {**records[0], "open_set": True}
    without, with_it = json.loads(contents[0]), json.loads(contents[2])
    assert list(without) == ["round", "trial", "settings", "checksum"]
    assert with_it["settings"] == without["settings"]
    assert with_it["open_set"].keys() == without["settings"].keys()
    for (scores,) in with_it["open_set"].values():  # of six people, five images each
        assert (scores["present"], scores["absent"]) == (15, 15)
        assert [one["false_alarm_rate"] for one in scores["rates"]] == [0.1, 0.01, 0.001]
        assert {one["identification_rate"] for one in scores["rates"]} == {None}
    log = capsys.readouterr().err
    assert log.count("15 present and 15 absent queries, too few queries at FAR 0.1,") == 2
    words = tiny.evaluate_words(folders[0], folders[1], 0)
    assert tiny.run(*words, "--evaluate-open-set", "maybe") == 1
    assert "`evaluate.open_set` is 'maybe'" in capsys.readouterr().err


def test_stage_one_starts_from_a_published_state_dict(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Torchvision's older files lack the batch counters; both stems and the trunk use the rest."""
    published = {
        name: value
        for name, value in resnet18().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(published, tmp_path / "resnet18.pth")
    words = ["--model-width", "64", "--model-weights", "imagenet", "--pretrain-epochs", "1"]
    words += ["--pretrain-iterations", "1", "--pretrain-learning-rate", "1e-12"]
    words += ["--weights-file", tmp_path / "resnet18.pth", "--optimizer-weight-decay", "0"]
    assert tiny.pretrain(folders[0], tmp_path / "out", *words) == 0
    state = torch.load(tmp_path / "out/round00/checkpoint.pt", weights_only=True)["state"]
    for ours, theirs in (
        ("visible_stem.conv1.weight", "conv1.weight"),
        ("infrared_stem.conv1.weight", "conv1.weight"),
        ("trunk.layer4.1.bn2.weight", "layer4.1.bn2.weight"),
    ):
        assert torch.allclose(state[ours], published[theirs], atol=1e-6)
