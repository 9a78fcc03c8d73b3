"""What docs/cluster.md says about clusters, against the profile and the plugin itself."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.slurm_profile import PAGE, profile_for_an_hour, read_profile, request


class Resources(dict[str, Any]):
    """A job's resources, as the plugin reads them."""

    __getattr__ = dict.__getitem__


def job(**resources: Any) -> SimpleNamespace:
    """Return a job of a rule that asks for a GPU, with other resources of a profile."""
    return SimpleNamespace(resources=Resources({"gpu": 1, **resources}))


def test_the_documented_resources_ask_by_gres_alone() -> None:
    """With the lines of the page, the words for sbatch have --gres and no --gpus."""
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    lines = PAGE.partition('    "gpu": 0')[2].partition("\n\n")[0]
    resources = ast.literal_eval(f'{{"gpu": 0{lines}\n}}')
    assert set_gres_string(job()) == " --gpus=1"
    assert set_gres_string(job(**resources)) == " --gres=gpu:1"


def test_the_extra_words_are_accepted_but_for_gres() -> None:
    """The plugin refuses in `slurm_extra` what it writes itself, and takes the page's example."""
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra
    from snakemake_interface_common.exceptions import WorkflowError

    example = PAGE.partition('slurm_extra: "')[2].partition('"')[0]
    validate_slurm_extra(job(slurm_extra=example))
    with pytest.raises(WorkflowError, match="not allowed"):
        validate_slurm_extra(job(slurm_extra="--gres=gpu:1"))


def test_no_attempt_exceeds_the_partition(tmp_path: Path) -> None:
    """With the page's lines for an hour, all six attempts stay within it, and within the memory."""
    profile = read_profile(profile_for_an_hour(tmp_path / "profile"))
    assert profile["retries"] == 5
    for rule in profile["set-resources"]:
        requests = [request(profile, rule, attempt) for attempt in range(1, 7)]
        assert {each.partition for each in requests} == {"gpu-hour"}
        assert all(each.minutes == 60 for each in requests)
        assert requests[1].megabytes == 2 * requests[0].megabytes
        assert max(each.megabytes for each in requests) <= 64000
    assert profile["default-resources"]["runtime"] <= 60


def test_an_attempt_asks_for_more_up_to_the_limit() -> None:
    """In the profile as it is, time and memory grow with the attempts up to its limits."""
    profile = read_profile()
    minutes = [request(profile, "pretrain", attempt).minutes for attempt in (1, 2, 3, 4)]
    assert minutes == [480, 960, 1440, 1440]
    megabytes = [request(profile, "rounds", attempt).megabytes for attempt in (1, 2, 3, 4, 5)]
    assert megabytes == [16000, 32000, 48000, 64000, 64000]
