"""The command line: every stage explains itself, every config key is a flag."""

from __future__ import annotations

import subprocess
import sys

import pytest

from salcr.__main__ import SUMMARIES, main
from salcr.config import STAGE_SECTIONS, flag_name
from salcr.schema import section_model


def test_every_stage_of_the_config_is_a_command() -> None:
    """The table of stages and the table of their sections name the same stages."""
    assert set(SUMMARIES) == set(STAGE_SECTIONS)


@pytest.mark.parametrize("stage", SUMMARIES)
def test_help_explains_every_flag(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and shows each config key of the stage with its description."""
    with pytest.raises(SystemExit) as caught:
        main([stage, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for section in STAGE_SECTIONS[stage]:
        for key, field in section_model(section).model_fields.items():
            assert flag_name(section, key) in text
            assert str(field.description).split()[0] in text


def test_unknown_stage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is no stage exits 2 and lists the stages."""
    with pytest.raises(SystemExit) as caught:
        main(["trian"])
    assert caught.value.code == 2
    assert "pretrain" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["synthesize", "preprocess", "aggregate", "draw"])
def test_light_stages_import_no_torch(stage: str) -> None:
    """Stages that train nothing start without torch, whose import takes seconds."""
    code = f"import sys, salcr.stages.{stage}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
