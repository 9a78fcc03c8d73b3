"""The command line: every stage explains itself, and every configuration key is a flag."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import salcr.stages
from salcr.__main__ import main
from salcr.config.loading import flag_name
from salcr.config.schema import section_model
from salcr.config.stages import STAGES, Stage


def test_the_registry_and_the_modules_name_the_same_stages() -> None:
    """Every module in salcr/stages/ is a command, and every command has a module."""
    assert {path.stem for path in Path(salcr.stages.__file__).parent.glob("[!_]*.py")} == set(
        STAGES
    )


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_help_explains_every_flag(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and shows each config key of the stage with its description."""
    with pytest.raises(SystemExit) as caught:
        main([stage.command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for section in stage.sections:
        for key, field in section_model(section).model_fields.items():
            assert flag_name(section, key) in text
            assert str(field.description).split()[0] in text


COMPLETE = """
    eval "$0"
    COMP_WORDS=(salcr "$@") COMP_CWORD=$#
    _shtab_salcr
    printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["ev"], {"evaluate"}),
        (
            ["associate", "--clustering-"],
            {flag_name("clustering", key) for key in section_model("clustering").model_fields},
        ),
    ],
    ids=["stage", "flag"],
)
def test_bash_completes_stages_and_flags(
    capsys: pytest.CaptureFixture[str], words: list[str], wanted: set[str]
) -> None:
    """The first letters of a stage or of a flag are completed to the words that argparse knows."""
    assert main(["--print-completion", "bash"]) == 0
    command = ["bash", "-c", COMPLETE, capsys.readouterr().out, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == wanted


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A shell without completions exits 2, and the message names the available ones."""
    with pytest.raises(SystemExit) as caught:
        main(["--print-completion", "dos"])
    assert caught.value.code == 2
    assert "zsh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("010", "YAML takes 010 for 8, in base 8; write 10 or 8"),
        ("1:30", "write 90"),
        ("1.0", "`synthesize.num_identities` is 1.0: input should be a valid integer; write 1"),
        ('"12"', "write 12, without quotes"),
        ("true", "`synthesize.num_identities` is True: input should be a valid integer"),
    ],
)
def test_flags_are_as_strict_as_configurations(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, word: str, message: str
) -> None:
    """A value of another type, or one that YAML would misread, is refused; nothing is written."""
    words = ["synthesize", "--out", str(tmp_path / "out"), "--synthesize-num-identities", word]
    try:
        status = main(words)
    except SystemExit as ended:  # what argparse refuses
        status = int(ended.code or 0)
    assert status != 0 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_stage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is not a stage exits 2, and the message lists the stages."""
    with pytest.raises(SystemExit) as caught:
        main(["trian"])
    assert caught.value.code == 2
    assert "pretrain" in capsys.readouterr().err


def test_light_stages_import_no_torch() -> None:
    """Stages without training start without torch, whose import takes seconds."""
    light = ("synthesize", "preprocess", "aggregate", "plot", "tables", "study", "study_row")
    modules = ", ".join(f"salcr.stages.{stage}" for stage in light)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
