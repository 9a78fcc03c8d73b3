"""The stages, run through the command line on a tiny synthetic data set."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from salcr import files
from salcr.evaluation.metrics import retrieval_metrics
from tests.support import tiny


@pytest.fixture(scope="module")
def data(stage_one: Path) -> Path:
    """Return the folder written by preprocess."""
    return stage_one / "data"


@pytest.fixture(scope="module")
def results(data: Path, stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trial with stage one and two rounds of stage two."""
    out = tmp_path_factory.mktemp("results") / "tiny" / "salcr" / "trial01"
    shutil.copytree(stage_one / "round00", out / "round00")
    for round_ in (1, 2):
        assert tiny.associate(data, out, round_) == 0
        assert tiny.train(data, out, round_) == 0
    assert tiny.label_quality(data, out, 2) == 0
    for round_ in (0, 1, 2):
        assert tiny.evaluate(data, out, round_) == 0
    return out


def test_preprocess_stores_every_image_where_the_manifest_says(data: Path) -> None:
    """Row by row, the arrays contain the resized source image of the file in the manifest."""
    manifest = pd.read_csv(data / "manifest.csv")
    assert len(manifest) == 2 * 2 * 12 * 5  # trials x modalities x identities x images
    for modality in ("visible", "infrared"):
        array = np.load(data / f"{modality}.npy")
        assert array.shape == (60, 64, 32, 3) and array.dtype == np.uint8
        lines = manifest[manifest["modality"] == modality]
        for line in lines.iloc[::29].itertuples():
            source = Image.open(data.parent / "raw" / line.file)
            assert np.array_equal(array[line.row], np.asarray(source))


def test_preprocess_keeps_train_and_test_apart(data: Path) -> None:
    """Within a trial, no identity and no image is in both splits, and the halves are equal."""
    lines = pd.read_csv(data / "manifest.csv")
    lines["folder"] = lines["file"].str.split("/").str[1]
    for _, trial in lines.groupby("trial"):
        train, test = (trial[trial["split"] == split] for split in ("train", "test"))
        assert set(train["folder"]).isdisjoint(test["folder"])
        assert train["folder"].nunique() == test["folder"].nunique() == 6


def test_preprocess_writes_identities_to_their_own_file_only(data: Path) -> None:
    """The manifest, which training reads, has no identities; the other file matches its rows."""
    manifest, identities = (pd.read_csv(data / f"{n}.csv") for n in ("manifest", "identities"))
    assert "identity" not in manifest
    key = ["trial", "split", "modality", "row"]
    assert manifest[key].equals(identities[key])


def test_labels_mean_the_same_clusters_as_the_association(results: Path) -> None:
    """Each clustered image has a valid label in both spaces; outliers have none."""
    labels = pd.read_csv(results / "round01/labels.csv")
    clustered = labels["cluster"] >= 0
    assert clustered.any()
    for space in ("visible", "infrared"):
        size = labels.loc[labels["modality"] == space, "cluster"].max() + 1
        column = labels[f"{space}_space"]
        assert column[clustered].between(0, size - 1).all()
        assert (column[~clustered] == -1).all()


def test_checkpoints_carry_where_they_come_from(data: Path, results: Path) -> None:
    """Round, trial, data hash and network are in every checkpoint, and the parts are new."""
    summary = json.loads((data / "preprocess.json").read_text())
    for round_ in (0, 2):
        path = results / f"round{round_:02d}/checkpoint.pt"
        checkpoint = torch.load(path, weights_only=True)
        assert (checkpoint["round"], checkpoint["trial"]) == (round_, 1)
        assert checkpoint["data_hash"] == summary["data_hash"]
        assert checkpoint["model"]["num_parts"] == (3 if round_ else 1)


def test_metrics_are_those_of_flip_averaged_features(data: Path, results: Path) -> None:
    """Metrics equal those of features computed here by hand from the checkpoint."""
    from salcr.models.network import Network

    checkpoint = torch.load(results / "round02/checkpoint.pt", weights_only=True)
    network = Network(**checkpoint["model"])
    network.load_state_dict(checkpoint["state"])
    network.eval()
    lines = pd.read_csv(data / "identities.csv").query("trial == 1 and split == 'test'")
    features, identity = {}, {}
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for modality, side in lines.groupby("modality"):
        images = torch.from_numpy(np.load(data / f"{modality}.npy")[side["row"]]) / 255
        images = ((images - mean) / std).permute(0, 3, 1, 2)
        with torch.no_grad():
            both = [network(views, modality)[0] for views in (images, images.flip(3))]
        unit = [view / view.norm(dim=1, keepdim=True) for view in both]
        features[modality] = (unit[0] + unit[1]).numpy().astype(float)
        features[modality] /= np.linalg.norm(features[modality], axis=1, keepdims=True)
        identity[modality] = side["identity"].to_numpy()
    settings = json.loads((results / "round02/metrics.json").read_text())["settings"]
    for setting, (query, gallery) in {
        "visible-to-thermal": ("visible", "infrared"),
        "thermal-to-visible": ("infrared", "visible"),
    }.items():
        gaps = features[query][:, None] - features[gallery][None]
        expected = retrieval_metrics((gaps**2).sum(2), identity[query], identity[gallery])
        (only,) = settings[setting]["none"]
        assert only["map"] == pytest.approx(expected.map, abs=1e-4)
        assert np.allclose(only["cmc"], expected.cmc, atol=1e-9)


def test_rankings_name_the_nearest_and_mark_them_rightly(data: Path, results: Path) -> None:
    """The marks in the ranking list agree with the identities of the rows it names."""
    lines = pd.read_csv(data / "identities.csv").query("trial == 1 and split == 'test'")
    identity = dict(lines.set_index(["modality", "row"])["identity"].items())
    settings = json.loads((results / "round02/rankings.json").read_text())["settings"]
    for ranking in settings["visible-to-thermal"]["queries"]:
        expected = identity["visible", ranking["query"]]
        marks = [identity["infrared", row] == expected for row in ranking["gallery"]]
        assert marks == ranking["right"]


def test_label_quality_is_of_each_round_in_order(data: Path, results: Path) -> None:
    """Scores of both label spaces of each round equal scikit-learn's on its label file."""
    people = pd.read_csv(data / "identities.csv").query("trial == 1 and split == 'train'")
    order = {modality: side["identity"].tolist() for modality, side in people.groupby("modality")}
    identity = np.array(order["visible"] + order["infrared"])
    rounds = json.loads((results / "label_quality.json").read_text())["rounds"]
    aris = []
    for round_, quality in enumerate(rounds, start=1):
        table = pd.read_csv(results / f"round{round_:02d}/labels.csv")  # visible images first
        for space in ("visible", "infrared"):
            labels = table[f"{space}_space"].to_numpy()
            kept = labels >= 0
            ari = adjusted_rand_score(identity[kept], labels[kept])
            assert quality[space]["ari"] == pytest.approx(ari, rel=1e-9)
            assert quality[space]["outliers"] == pytest.approx(1 - kept.mean(), rel=1e-9)
            aris.append(ari)
    assert len(rounds) == 2 and aris[:2] != aris[2:]


def test_label_quality_of_other_rounds_is_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of two rounds does not pass for one of three: `aggregate` names it and the numbers."""
    root = tmp_path / "tiny"
    shutil.copytree(results.parents[1], root)
    trial = root / "salcr/trial01"
    shutil.copytree(trial / "round02", trial / "round03")
    words = ["--dataset", "tiny", "--root", root, "--trials", 1, "--every", 2]
    metrics = files.read_json(trial / "round03/metrics.json")
    files.write_json(trial / "round03/metrics.json", {**metrics, "round": 3})
    assert tiny.run("aggregate", *words, "--runs", "salcr:salcr:3") == 1
    assert "label_quality.json: is of 2 rounds instead of 3; delete" in capsys.readouterr().err


def test_training_cannot_see_identities(data: Path, results: Path, tmp_path: Path) -> None:
    """With all identities shuffled, labels and checkpoint are identical; their quality is not."""
    other = tmp_path / "data"
    shutil.copytree(data, other)
    shuffled = pd.read_csv(other / "identities.csv")
    shuffled["identity"] = np.random.default_rng(0).permutation(shuffled["identity"])
    shuffled.to_csv(other / "identities.csv", index=False)
    tiny.accept_identities(other)
    assert tiny.pretrain(other, tmp_path) == 0
    assert tiny.associate(other, tmp_path, 1) == 0
    assert tiny.train(other, tmp_path, 1) == 0
    shutil.copytree(results / "round02", tmp_path / "round02")
    assert tiny.label_quality(other, tmp_path, 2) == 0
    names = ("round00/checkpoint.pt", "round01/labels.csv", "round01/checkpoint.pt")
    for name, same in (*((name, True) for name in names), ("label_quality.json", False)):
        pair = [(folder / name).read_bytes() for folder in (tmp_path, results)]
        assert (pair[0] == pair[1]) is same, name


def test_training_runs_without_the_identity_file(data: Path, tmp_path: Path) -> None:
    """Pretrain, associate and train succeed without the file of identities."""
    bare = tmp_path / "data"
    bare.mkdir()
    for path in data.iterdir():
        if path.name != "identities.csv":
            (bare / path.name).symlink_to(path)
    assert tiny.pretrain(bare, tmp_path) == 0
    assert tiny.associate(bare, tmp_path, 1) == 0
    assert tiny.train(bare, tmp_path, 1) == 0


def test_equal_runs_write_equal_bytes(data: Path, results: Path, tmp_path: Path) -> None:
    """Stage one and a round of stage two, run a second time, give identical checkpoints."""
    assert tiny.pretrain(data, tmp_path) == 0
    assert tiny.associate(data, tmp_path, 1) == 0
    assert tiny.train(data, tmp_path, 1) == 0
    assert tiny.evaluate(data, tmp_path, 1) == 0
    for name in (
        "round00/checkpoint.pt",
        "round01/labels.csv",
        "round01/checkpoint.pt",
        "round01/optimizer.pt",
        "round01/metrics.json",
    ):
        assert (tmp_path / name).read_bytes() == (results / name).read_bytes(), name


def test_another_seed_or_trial_gives_another_network(
    data: Path, results: Path, tmp_path: Path
) -> None:
    """Seed and trial both affect the weights."""
    first = torch.load(results / "round00/checkpoint.pt", weights_only=True)["state"]
    for extra, trial in ((["--seed", 5], 1), ([], 2)):
        out = tmp_path / f"{trial}"
        assert tiny.pretrain(data, out, *extra, trial=trial) == 0
        other = torch.load(out / "round00/checkpoint.pt", weights_only=True)["state"]
        assert not torch.equal(
            first["trunk.layer1.0.conv1.weight"], other["trunk.layer1.0.conv1.weight"]
        )


def test_the_second_round_continues_the_optimizer(results: Path) -> None:
    """Adam's step count continues from the file of the previous round."""
    steps = [
        torch.load(results / f"round{r:02d}/optimizer.pt", weights_only=True)["adam"]["state"][0][
            "step"
        ]
        for r in (1, 2)
    ]
    assert [int(step) for step in steps] == [3, 6]


def test_aggregate_means_and_deviations(data: Path, results: Path, tmp_path: Path) -> None:
    """The summary contains mean and sample deviation over trials, computed by hand here."""
    root = results.parent.parent
    other = root / "salcr/trial02"
    for path in results.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".csv"):
            copy = other / path.relative_to(results)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    for path in other.rglob("metrics.json"):
        files.write_json(path, {**files.read_json(path), "trial": 2})
    changed = files.read_json(other / "round02/metrics.json")
    (scores,) = changed["settings"]["visible-to-thermal"]["none"]
    before, scores["map"] = scores["map"], scores["map"] + 0.1
    files.write_json(other / "round02/metrics.json", changed)
    words = ["--dataset", "tiny", "--root", root, "--runs", "salcr:salcr:2", "--trials", 1, 2]
    assert tiny.run("aggregate", *words) == 0
    summary = pd.read_csv(root / "summary.csv").set_index(["stage", "setting"])
    assert list(summary.columns[:4]) == ["dataset", "variant", "rerank", "num_trials"]
    line = summary.loc[("salcr", "visible-to-thermal")]
    assert line["map_mean"] == pytest.approx(100 * before + 5, abs=1e-3)
    assert line["map_std"] == pytest.approx(10 / 2**0.5, abs=1e-3)
    assert summary.loc[("pretrain", "thermal-to-visible"), "rank1_std"] == 0
    assert (summary["num_trials"] == 2).all()
    tree = json.loads((root / "metrics.json").read_text())["salcr"]
    assert tree["salcr"]["visible-to-thermal"]["map"] == line["map_mean"]
    assert tree["salcr"]["visible-to-thermal"]["map_std"] == line["map_std"]
    assert tree["pretrain"]["thermal-to-visible"]["rank1_std"] == 0
    assert list(tree) == ["pretrain", "salcr"] and len(tree["salcr"]["thermal-to-visible"]) == 6


def test_aggregate_of_the_open_set(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Means over trials, empty where a trial has none; the smallest numbers of queries.

    Scores of other galleries than the closed set's are refused.
    """
    root = tmp_path / "tiny"
    for trial, shares in ((1, [0.8, 0.25, None]), (2, [0.6, None, None])):
        shutil.copytree(results, root / f"salcr/trial{trial:02d}")
        rates = [
            {"false_alarm_rate": rate, "threshold": share and 0.4, "identification_rate": share}
            for rate, share in zip((0.1, 0.01, 0.001), shares, strict=True)
        ]
        scores = {"present": 500 + trial, "absent": 1003 - trial, "rates": rates}
        for path in (root / f"salcr/trial{trial:02d}").rglob("metrics.json"):
            metrics = {**files.read_json(path), "trial": trial}
            rankings = metrics["settings"]["visible-to-thermal"]
            rankings["other"] = rankings["none"]
            open_set = {name: [scores] for name in metrics["settings"]}
            files.write_json(path, {**metrics, "open_set": open_set})
    words = ["aggregate", "--dataset", "tiny", "--root", root]
    words += ["--runs", "salcr:salcr:2", "--trials", 1, 2]
    assert tiny.run(*words) == 0
    summary = pd.read_csv(root / "summary.csv")
    plain = summary[summary["rerank"] == "none"]
    assert len(plain) == 4 and len(summary) == 6
    assert (plain["dir_far0.1_mean"] == 70).all() and set(plain["dir_far0.1_std"]) == {14.1421}
    assert (plain["num_present"] == 501).all() and (plain["num_absent"] == 1001).all()
    empty = [f"dir_far{rate}_{kind}" for rate in (0.01, 0.001) for kind in ("mean", "std")]
    assert plain[empty].isna().all(axis=None)
    added = [*empty, "dir_far0.1_mean", "dir_far0.1_std", "num_present", "num_absent"]
    assert summary.loc[summary["rerank"] == "other", added].isna().all(axis=None)
    trials = pd.read_csv(root / "trials.csv").query("rerank == 'none' and trial == 1")
    assert (trials["dir_far0.01"] == 25).all() and (trials["num_absent"] == 1002).all()
    leaf = json.loads((root / "metrics.json").read_text())["salcr"]["salcr"]["visible-to-thermal"]
    assert (leaf["dir_far0.1"], leaf["dir_far0.1_std"]) == (70, 14.1421)
    assert "dir_far0.01" not in leaf and "dir_far0.1" not in leaf["other"]
    _, _, text = (root / "summary.txt").read_text().partition("\n\nOpen set")
    assert len(re.findall(r"501 +1001 +70\.0 ± 14\.1 +\n", text)) == 4
    path = root / "salcr/trial02/round02/metrics.json"
    metrics = files.read_json(path)
    del metrics["open_set"]["thermal-to-visible"]
    files.write_json(path, metrics)
    capsys.readouterr()
    assert tiny.run(*words) == 1
    error = capsys.readouterr().err
    assert f"{path}: is not the metrics.json" in error and "open_set is not of the galler" in error
