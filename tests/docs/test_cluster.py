"""What docs/cluster.md says about clusters that know only `--gres`, against the plugin itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.support.markdown import ROOT

TEXT = (ROOT / "docs/cluster.md").read_text()


class Resources(dict[str, Any]):
    """A job's resources, as the plugin reads them."""

    __getattr__ = dict.__getitem__


def job(**resources: Any) -> SimpleNamespace:
    """Return a job of a rule that asks for a GPU, with other resources of a profile."""
    return SimpleNamespace(resources=Resources({"gpu": 1, **resources}))


def test_the_documented_resources_ask_by_gres_alone() -> None:
    """With the lines of the page, the words for sbatch have --gres and no --gpus."""
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    lines = TEXT.partition("set-resources:\n")[2].partition("\n\n")[0]
    (resources,) = yaml.safe_load(f"set-resources:\n{lines}")["set-resources"].values()
    assert set_gres_string(job()) == " --gpus=1"
    assert set_gres_string(job(**resources)) == " --gres=gpu:1"


def test_the_extra_words_are_accepted_but_for_gres() -> None:
    """The plugin refuses in `slurm_extra` what it writes itself, and takes the page's example."""
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra
    from snakemake_interface_common.exceptions import WorkflowError

    example = TEXT.partition('slurm_extra: "')[2].partition('"')[0]
    validate_slurm_extra(job(slurm_extra=example))
    with pytest.raises(WorkflowError, match="not allowed"):
        validate_slurm_extra(job(slurm_extra="--gres=gpu:1"))
