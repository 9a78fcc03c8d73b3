"""What makes synthetic people hard to recognize: each key changes what it says, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salcr.data.store import load_identities
from salcr.datasets.readers import READERS
from salcr.datasets.regdb import read_records
from salcr.datasets.synthetic.body import Frame, place_body, sample_pose
from salcr.datasets.synthetic.difficulty import hide_cues
from salcr.datasets.synthetic.generate import make_person, synthesize
from salcr.datasets.synthetic.people import Person, render, sample_person
from salcr.datasets.synthetic.population import People
from salcr.datasets.synthetic.scene import misalign
from salcr.errors import SalcrError
from salcr.evaluation.label_quality import label_quality
from salcr.types import MODALITIES
from tests.support import tiny

PEOPLE = People(num_identities=60, images_per_identity=2, num_trials=1, seed=3)

# Body y of the rows that a stripe's cues can reach: long hair, a coat and arms, the hips; and a row
# of pixels more.
ROWS = {"head": (-0.08, 0.24), "torso": (0.145, 0.705), "legs": (0.45, 1.05)}

BLOCKS = {
    "visible": [
        105, 105, 105, 110, 104, 121, 113, 109, 103, 107, 104, 109,
        110, 107, 117, 107, 100, 127, 137, 111, 97, 114, 121, 111,
    ],
    "infrared": [
        28, 29, 28, 34, 29, 79, 58, 32, 26, 88, 83, 32,
        50, 74, 92, 31, 23, 84, 106, 46, 21, 67, 85, 50,
    ],
}  # fmt: skip


def image(person: Person, modality: str, seed: int, **changes: float) -> np.ndarray:
    """Return an image with a given seed, as integers."""
    rng = np.random.default_rng(seed)
    return render(person, modality=modality, rng=rng, **changes).astype(int)  # type: ignore[arg-type]


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_defaults_change_no_image(modality: str) -> None:
    """Means of 24 blocks of an image are those from before the keys existed; roundings may vary."""
    person = sample_person(np.random.default_rng([1, 0, 7]))
    rng = np.random.default_rng([1, 1, 7])
    seen = render(person, modality=modality, rng=rng, height=48, width=32, hardness=0.5)
    blocks = seen.astype(float).reshape(6, 8, 4, 8, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(blocks.ravel(), BLOCKS[modality], atol=0.6)


@pytest.mark.parametrize("modality", MODALITIES)
def test_occlusion_covers_a_box_in_the_given_share_of_images(modality: str) -> None:
    """Always, never or in about half of the images, a flat box hides part of the same image."""
    person = make_person(PEOPLE, 0, modality, 0.0)
    covered = 0
    for seed in range(40):
        free, always, half = (image(person, modality, seed, occlusion=p) for p in (0, 1, 0.5))
        rows, columns, _ = np.nonzero(free != always)
        box = always[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert 10 <= box.shape[0] <= 35 and box.shape[1] <= 25  # up to 35% and 50%
        assert box.std() < 8  # noise
        covered += not np.array_equal(half, free)
        assert np.array_equal(half, free) or np.array_equal(half, always)
    assert 10 < covered < 30


def test_misalignment_shifts_and_scales_the_box_up_to_its_share() -> None:
    """The center of the image moves by at most a share of its sides, and all lengths scale."""
    frame = Frame(axis=40.0, crown=20.0, size=150.0, facing=1)
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(400):
        wrong = misalign(frame, 0.2, 200, 100, rng)
        scale = wrong.size / frame.size
        # The image's center, (50, 100), in body coordinates, as the wrong box shows it.
        column = wrong.axis + (50 - 40) / 150 * wrong.size
        row = wrong.crown + (100 - 20) / 150 * wrong.size
        changes.append([scale - 1, (column - 50) / 100, (row - 100) / 200])
    largest = np.abs(changes).max(axis=0)
    assert (largest <= 0.2 + 1e-9).all() and (largest > 0.19).all()
    assert misalign(frame, 0.0, 200, 100, rng) == frame


def test_misaligned_people_are_cut_off_at_the_edge() -> None:
    """Warm pixels reach the image's border only with a wrong box; background and noise stay."""
    person = make_person(PEOPLE, 1, "infrared", 0.0)
    cut = 0
    for seed in range(30):
        right, wrong = (
            image(person, "infrared", seed, misalignment=m, occlusion=0.0) for m in (0.0, 0.3)
        )
        assert right[[0, -1]].max() < 70
        cut += wrong[[0, -1]].max() > 90
        np.testing.assert_array_equal(
            right[0, 0], image(person, "infrared", seed, occlusion=0)[0, 0]
        )
    assert 5 < cut < 30


CUES: dict[str, Callable[[Person], tuple[str, str]]] = {
    "bag": lambda person: (person.shape.bag, "none"),
    "hat": lambda person: (person.shape.hat, "none"),
    "hair": lambda person: (person.shape.hair, "short"),
    "top print": lambda person: (person.top_print.kind, "plain"),
    "trouser print": lambda person: (person.trouser_print.kind, "plain"),
}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_private_cues_are_shown_by_one_modality(share: float) -> None:
    """A private cue is hidden in one modality and kept in the other, each as often; others stay."""
    hidden = dict.fromkeys(MODALITIES, 0)
    cues = 0
    for identity in range(200):
        person = make_person(PEOPLE, identity, "visible", 0.0)
        shown = {m: make_person(PEOPLE, identity, m, share) for m in MODALITIES}
        for cue in CUES.values():
            value, absent = cue(person)
            values = {modality: cue(seen)[0] for modality, seen in shown.items()}
            assert set(values.values()) <= {value, absent} and value in values.values()
            if value != absent:
                cues += 1
                for modality in MODALITIES:
                    hidden[modality] += values[modality] != value
        for seen in shown.values():
            shape = replace(seen.shape, bag=person.shape.bag, hat=person.shape.hat)
            assert replace(shape, hair=person.shape.hair) == person.shape
            assert seen.surfaces == person.surfaces and seen.heat_spots == person.heat_spots
    for number in hidden.values():
        assert number == pytest.approx(share / 2 * cues, abs=0.05 * cues)


def test_a_hidden_print_leaves_a_plain_garment() -> None:
    """Where the print of a top is private, the other modality's pixels are those of a plain top."""
    differing = dict.fromkeys(MODALITIES, 0)
    for seed in range(12):
        person = sample_person(np.random.default_rng(seed))
        bare = replace(person, top_print=replace(person.top_print, kind="plain"))
        for modality in MODALITIES:
            rng = np.random.default_rng(seed)
            shown = hide_cues(person, modality=modality, share=1.0, rng=rng)
            alone = replace(person, top_print=shown.top_print)
            differing[modality] += not np.array_equal(
                image(alone, modality, seed), image(bare, modality, seed)
            )
    assert all(0 < number < 12 for number in differing.values())
    assert sum(differing.values()) <= 12


def stripe_of(first: Person, second: Person) -> str:
    """Return the stripe whose cues differ between look-alikes."""
    if first.surfaces["top"] != second.surfaces["top"]:
        return "torso"
    return "legs" if first.surfaces["trousers"] != second.surfaces["trousers"] else "head"


def test_look_alikes_differ_in_the_rows_of_one_stripe() -> None:
    """Images of a pair with equal pose differ there in both modalities, and nowhere else."""
    people = PEOPLE._replace(look_alikes=1.0)
    stripes = set()
    for identity in range(0, 60, 2):
        for modality in MODALITIES:
            pair = [make_person(people, identity + side, modality, 0.0) for side in (0, 1)]
            stripe = stripe_of(*pair)
            stripes.add(stripe)
            images = [image(person, modality, identity, occlusion=0.0) for person in pair]
            rows = np.flatnonzero((images[0] != images[1]).any(axis=(1, 2)))
            pose = sample_pose(np.random.default_rng(identity))
            frame = place_body(pair[0].shape, pose, 96, 48)
            y = (rows - frame.crown) / frame.size
            assert len(rows) >= 2
            assert ROWS[stripe][0] < y.min() and y.max() < ROWS[stripe][1], stripe
    assert stripes == {"head", "torso", "legs"}


def test_look_alikes_have_the_same_private_cues() -> None:
    """What a modality hides of one person it hides of the other; else it would tell them apart."""
    people = PEOPLE._replace(look_alikes=1.0)
    for identity in range(0, 60, 2):
        first, second = (make_person(people, identity + side, "infrared", 0.7) for side in (0, 1))
        assert first.shape.bag == second.shape.bag


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_look_alikes_is_as_given_and_pairs_stay_together(share: float) -> None:
    """Pairs of a smaller share remain in a larger; both of a pair are trained or tested on."""
    people = PEOPLE._replace(look_alikes=share, own_people=True, num_trials=2)
    pairs = {i for i in people.identities if people.original(i) != i}
    assert 2 * len(pairs) == pytest.approx(share * 120, abs=4)
    more = people._replace(look_alikes=min(1.0, share + 0.25))
    assert pairs <= {i for i in more.identities if more.original(i) != i}
    for trial in (1, 2):
        halves = people.halves(trial)
        assert [len(half) for half in halves.values()] == [30, 30]
        assert sorted(halves["train"] + halves["test"]) == list(range(60 * trial - 60, 60 * trial))
        for half in halves.values():
            assert {i for i in half if i in pairs} == {i + 1 for i in half if i + 1 in pairs}


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm"])
def test_unpaired_people_are_in_one_modality_in_training_only(tmp_path: Path, layout: str) -> None:
    """Of ten training people half are unpaired, two or three of them in each modality."""
    trials = 2 if layout == "regdb" else 1
    sizes = {"num_identities": 20, "images_per_identity": 2, "num_trials": trials, "seed": 1}
    synthesize(tmp_path / "d", layout=layout, **sizes, unpaired=0.5, height=32, width=16)
    records = READERS[layout].read_records(tmp_path / "d")
    for trial in range(1, trials + 1):
        seen = {
            (split, modality): {r.identity for r in records if r[:3] == (trial, split, modality)}
            for split in ("train", "test")
            for modality in MODALITIES
        }
        visible, infrared = seen["train", "visible"], seen["train", "infrared"]
        assert len(visible | infrared) == 10
        assert sorted([len(visible - infrared), len(infrared - visible)]) == [2, 3]
        assert seen["test", "visible"] == seen["test", "infrared"]
        assert len(seen["test", "visible"]) == 10


def test_people_without_a_counterpart_do_not_spoil_the_quality_of_labels(tmp_path: Path) -> None:
    """True labels have scores of 1, since pairs are counted where both modalities show a person."""
    words = ["--out", tmp_path / "raw", *tiny.SYNTHESIZE, "--synthesize-unpaired", "0.7"]
    assert tiny.run("synthesize", *words) == 0
    words = ["--root", tmp_path / "raw", "--layout", "regdb", "--out", tmp_path / "data"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 0
    truth = load_identities(tmp_path / "data/identities.csv", trial=2, split="train")
    sides = truth["visible"], truth["infrared"]
    assert set(sides[0]) != set(sides[1])
    quality = label_quality(*sides, *sides)
    names = ("ari", "fmi", "v_measure", "pair_precision", "pair_recall")
    assert [quality[name] for name in names] == pytest.approx([1.0] * len(names))


def test_only_a_set_that_says_so_may_have_unpaired_people(tmp_path: Path) -> None:
    """Without idx/unpaired.txt the reader takes them for a damaged copy of RegDB."""
    sizes = {"num_identities": 8, "images_per_identity": 2, "num_trials": 1, "seed": 1}
    synthesize(tmp_path / "d", **sizes, unpaired=0.5, height=32, width=16)
    assert read_records(tmp_path / "d")
    (tmp_path / "d/idx/unpaired.txt").unlink()
    with pytest.raises(SalcrError, match=r"_1\.txt, line \d+: its label, .* is not in train_.*_1"):
        read_records(tmp_path / "d")
