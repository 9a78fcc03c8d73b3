"""Configuration: what is accepted, what is rejected with which message, and what a stage gets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from salcr.config import loading
from salcr.config.schema import Config
from salcr.config.stages import STAGES
from salcr.errors import SalcrError
from salcr.files import read_yaml
from tests.support.plans import REPOSITORY

CONFIGS = sorted((REPOSITORY / "config").glob("*.yaml"))


def values(**overlay: Any) -> dict[str, Any]:
    """Return the values of default.yaml with an overlay."""
    return loading.merge(read_yaml(loading.DEFAULT_CONFIG), overlay)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    """Each file in config/ is accepted with all its variants when overlaid on the defaults."""
    checked = loading.validate(loading.merge(values(), read_yaml(path)))
    for name in checked.variants:
        loading.variant(checked, name)


@pytest.mark.parametrize(
    ("overlay", "parts"),
    [
        ({"modle": 1}, ["`modle`", "did you mean `model`?"]),
        ({"epochs": 3}, ["`epochs`; did you mean `pretrain.epochs`?"]),
        ({"clustering": {"kk1": 3}}, ["`clustering.kk1`", "Allowed: k1, k2, eps, min_samples"]),
        ({"clustering": {"eps": 1.5}}, ["`clustering.eps` is 1.5", "less than 1"]),
        ({"gpcr": {"mode": "all"}}, ["`gpcr.mode`", "'both', 'global', 'part' or 'none'"]),
        ({"train": {"labels": 7}}, ["train: labels must be even"]),
        ({"associate": {"method": "otla"}}, ["otla needs train.label_space: visible"]),
        ({"memory": {"temperature": float("nan")}}, ["`memory.temperature`"]),
        ({"model": {"width": 16}}, ["weights: imagenet needs width: 64"]),
        ({"model": {"weights": "synthetic", "width": 16}}, ["backbone: resnet18 and width: 16"]),
        ({"dataset": {"trials": [1, 1]}}, ["trials must be distinct"]),
        ({"dataset": {"layout": "sysu"}}, ["layout sysu has one split: set trials: [1]"]),
        ({"dataset": {"synthetic": True}}, ["trial 10 is not one of the 2 of synthesize.num_tr"]),
        ({"dataset": {"layout": "market"}}, ["`dataset.layout`", "'sysu', 'llcm' or 'folders'"]),
        ({"preprocess": {"height": 32, "width": 16}}, ["fgsal.parts", "preprocess.height"]),
        ({"preprocess": {"height": 32}}, ["3 stripes do not fit the 2 rows", "preprocess.height"]),
        (
            {"fgsal": {"parts": 8}, "preprocess": {"height": 96}},
            ["8 stripes do not fit the 6 rows"],
        ),
        ({"clustering": {"k1": 5}}, ["clustering: k2: 6 is above k1: 5"]),
        ({"pretrain": {"milestones": [20, -1]}}, ["`pretrain.milestones.1` is -1"]),
        ({"train": {"milestones": [-1]}}, ["`train.milestones.0` is -1"]),
        ({"train": {"milestones": [9, 3, 9]}}, ["train.milestones: 9 is repeated"]),
        ({"memory": {"temperature": 1e-30}}, ["`memory.temperature` is 1e-30", "0.001"]),
        ({"associate": {"sinkhorn_strength": 1e-30}}, ["`associate.sinkhorn_strength`", "0.001"]),
        ({"variants": {"a b": {}}}, ["variants", "'a b' is not a valid name"]),
        ({"dataset": {"name": "../out"}}, ["`dataset.name`"]),
        ({"evaluate": {"cmfp_k": []}}, ["`evaluate.cmfp_k`"]),
        ({"evaluate": {"cmrr_k": [8, 0]}}, ["`evaluate.cmrr_k.1` is 0"]),
        ({"evaluate": {"open_set": "yes"}}, ["`evaluate.open_set` is 'yes'", "valid boolean"]),
        ({"evaluate": {"open_set": 1}}, ["`evaluate.open_set` is 1", "valid boolean"]),
        ({"transfer": {"results": "sysu"}}, ["transfer: give both results and checkpoint"]),
    ],
)
def test_bad_keys_are_named_with_what_is_allowed(overlay: dict[str, Any], parts: list[str]) -> None:
    """An unknown, misspelled or out-of-range key raises an error that names it."""
    with pytest.raises(SalcrError) as caught:
        loading.validate(values(**overlay))
    for part in parts:
        assert part in str(caught.value)


def test_several_mistakes_are_listed_together() -> None:
    """Two wrong keys produce two lines, so that both can be fixed in one go."""
    with pytest.raises(SalcrError) as caught:
        loading.validate(values(clustering={"k1": 1, "k2": 0}))
    assert "clustering.k1" in str(caught.value) and "clustering.k2" in str(caught.value)


def test_missing_key_is_named() -> None:
    """There are no defaults outside default.yaml: a key that is absent is reported as missing."""
    incomplete = values()
    del incomplete["memory"]["momentum"]
    with pytest.raises(SalcrError, match=r"missing key `memory\.momentum`"):
        loading.validate(incomplete)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """The message names a configuration that is not YAML or not a mapping."""
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(SalcrError, match=str(path)):
        read_yaml(path)


def test_default_config_explains_every_key() -> None:
    """Each key of the schema is in default.yaml, because Config has no defaults itself."""
    written = read_yaml(loading.DEFAULT_CONFIG)
    assert set(written) == set(Config.model_fields)


def test_flags_survive_a_shell_and_read_back_as_the_same_values() -> None:
    """Values of stage_flags survive shlex and YAML, even those that a shell would interpret."""
    evil = "weights/$(touch hacked); a 'b' \"c\".pth"
    checked = loading.validate(values(model={"weights": evil}))
    words = shlex.split(loading.stage_flags(checked, "pretrain"))
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert yaml.safe_load(flags["--model-weights"]) == evil
    assert yaml.safe_load(flags["--pretrain-milestones"]) == checked.pretrain.milestones
    assert yaml.safe_load(flags["--clustering-eps"]) == checked.clustering.eps


def test_a_stage_gets_only_its_own_keys() -> None:
    """A key of another stage does not appear in a stage's flags, so it cannot cause a rerun."""
    before = loading.validate(values())
    after = loading.validate(values(train={"learning_rate": 1e-5}, evaluate={"rankings": 3}))
    changed = {
        stage
        for stage in STAGES
        if loading.stage_flags(before, stage) != loading.stage_flags(after, stage)
    }
    assert changed == {"train", "rounds", "evaluate"}


def test_more_rounds_change_no_flag_of_a_stage() -> None:
    """Rounds belong to the workflow: one more must not rerun the existing ones."""
    before, after = loading.validate(values(rounds=3)), loading.validate(values(rounds=4))
    for stage in STAGES:
        assert loading.stage_flags(before, stage) == loading.stage_flags(after, stage)


def test_variants_share_stage_one_where_its_keys_agree() -> None:
    """The first variant with equal stage-one keys owns the pre-training."""
    variants = {
        "salcr": {},
        "dagl": {"fgsal": {"enabled": False}, "gpcr": {"mode": "none"}},
        "longer": {"pretrain": {"epochs": 50}},
        "longer_dagl": {"pretrain": {"epochs": 50}, "gpcr": {"mode": "none"}},
        "other_seed": {"seed": 7},
    }
    checked = loading.validate(values(variants=variants))
    settings = {name: loading.variant(checked, name) for name in variants}
    owners = {name: loading.pretraining_owner(settings, name) for name in variants}
    assert owners == {
        "salcr": "salcr",
        "dagl": "salcr",
        "longer": "longer",
        "longer_dagl": "longer",
        "other_seed": "other_seed",
    }


def test_the_order_of_variants_does_not_depend_on_the_files() -> None:
    """The plain method comes first and owns stage one, whatever the order of the files."""
    overlay = {"dagl": {"gpcr": {"mode": "none"}}, "salcr": {}, "a": {"gpcr": {"k": 5}}}
    checked = loading.validate(values(variants=overlay))
    assert list(checked.variants) == ["salcr", "a", "dagl"]
    settings = {name: loading.variant(checked, name) for name in checked.variants}
    assert loading.pretraining_owner(settings, "a") == "salcr"


def test_a_variant_may_not_change_what_all_share() -> None:
    """Variants share one folder and data set, so an overlay that changes the data is rejected."""
    checked = loading.validate(values(variants={"small": {"preprocess": {"height": 96}}}))
    with pytest.raises(SalcrError, match=r"variants\.small: `preprocess` is the same for all"):
        loading.variant(checked, "small")


def test_a_mistake_in_a_variant_names_the_variant() -> None:
    """An unknown key in an overlay is reported under the variant's name."""
    checked = loading.validate(values(variants={"odd": {"gpcr": {"kk": 3}}}))
    with pytest.raises(SalcrError, match=r"variants\.odd: .*unknown key `gpcr\.kk`"):
        loading.variant(checked, "odd")
