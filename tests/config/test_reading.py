"""Configurations as YAML without its surprises: what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salcr.config.loading import DEFAULT_CONFIG, flag_name, parse_settings, stage_flags, validate
from salcr.config.reading import merge, parse_value, read_configuration, read_configurations
from salcr.errors import SalcrError


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("rounds: 1\n\nrounds: 2\n", "lines 1 and 3"),
        ("train:\n  labels: 4\nseed: 1\ntrain:\n  instances: 2\n", "lines 1 and 4"),
        ("train:\n  labels: 4\n  labels: 4\n", "lines 2 and 3"),
        ("variants:\n  a: {}\n  b: {}\n  a: {seed: 1}\n", "lines 2 and 4"),
        ("variants: {a: {}, a: {}}\n", "one line"),
        ('seed: 1\n"seed": 2\n', "lines 1 and 2"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_both_lines(
    tmp_path: Path, text: str, lines: str
) -> None:
    """At any depth, quoted or not, even with equal values: YAML itself keeps the last one."""
    path = tmp_path / "twice.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SalcrError, match=rf"twice\.yaml: .*is given twice, in {lines}; keep one"):
        read_configuration(path)


def test_a_merged_mapping_may_repeat_its_keys() -> None:
    """`<<` lays a mapping under another one, which is not a mistake."""
    text = "base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}"
    assert parse_value(text)["mine"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("1:30", 'write 90, or "1:30" for text'),
        ("-1:30", 'write -90, or "-1:30"'),
        ("1:30.5", "write 90.5, or"),
        ("010", "write 10 or 8"),
        ("-0_10", "write -10 or -8"),
    ],
)
def test_numbers_with_another_value_than_they_seem_to_have_are_refused(
    word: str, remedy: str
) -> None:
    """YAML 1.1 counts by sixties where there is a colon and by eights after a zero."""
    with pytest.raises(SalcrError, match=remedy):
        parse_value(f"[{word}]")
    assert parse_value(f'"{word}"') == word


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("3.5e-5", 3.5e-5),
        ("1.0e5", 1e5),
        (".5e1", 5.0),
        ("-2e0", -2.0),
        ("0", 0),
        ("-7", -7),
        ("0.05", 0.05),
        ("0x10", 16),
        ("1_000", 1000),
        ("a1e3", "a1e3"),
        ("e3", "e3"),
        ("08", "08"),
    ],
)
def test_other_numbers_are_what_they_seem(word: str, value: Any) -> None:
    """With an exponent, with or without a dot, a number is one; types are exact."""
    assert parse_value(word) == value and type(parse_value(word)) is type(value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no keys"),
        (b"# all of it is a comment\n", "holds no keys"),
        (b"- 1\n", "must hold `key: value` pairs"),
        (b"seed 1\n", "must hold `key: value` pairs"),
        (b"seed: 1\n\tx: 2\n", "line 2: "),
        (b"seed: [1\n", "expected ',' or ']'"),
        (b"a: 1\n---\na: 2\n", "line 2: "),
        (b"a: !!python/object:os.system {}\n", "could not determine a constructor"),
        (b"a: 2024-13-01\n", "month must be in 1..12"),
        (b"a: " + b"9" * 5000, "Exceeds the limit"),
        (b"[" * 5000, "not valid YAML"),
        (b"a: \0\n", "not valid YAML"),
        ("seed: 1\nname: größe\n".encode("latin-1"), "line 2 is not in UTF-8; save the file in"),
        ("seed: 1\n".encode("utf-16"), "is in UTF-16; save the file in UTF-8"),
        ("seed: 1\n".encode("utf-16-be"), "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    """Empty, of another form or encoding: one line with the file and what is wrong."""
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(SalcrError) as caught:
        read_configuration(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and complaint in message and "\n" not in message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """The message has the reason of the system."""
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SalcrError, match=rf"{path}: cannot be read \({reason}"):
            read_configuration(path)


def test_a_mark_of_the_byte_order_is_not_part_of_a_key(tmp_path: Path) -> None:
    """Some editors write one at the beginning of UTF-8."""
    path = tmp_path / "marked.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 1\n")
    assert read_configuration(path) == {"seed": 1}


def test_files_and_words_are_laid_over_each_other(tmp_path: Path) -> None:
    """Sections merge, lists do not; words come last, and their values keep their types."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("a: {x: 1, y: [1, 2]}\nb: 1\n", encoding="utf-8")
    second.write_text("a: {y: [3]}\n", encoding="utf-8")
    words = ["a={z: 5}", "b=", "c={'on': 1e-3}"]
    assert read_configurations([first, second], words) == {
        "a": {"x": 1, "y": [3], "z": 5}, "b": None, "c": {"on": 0.001},
    }  # fmt: skip


@pytest.mark.parametrize("word", ["seed", "seed=010", "a={b: 1, b: 2}", "a={b"])
def test_a_word_that_cannot_be_read_is_quoted(word: str) -> None:
    """The message begins with the word as it was given."""
    with pytest.raises(SalcrError) as caught:
        read_configurations([], [word])
    assert str(caught.value).startswith(f"--config {word}: ")


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"rounds": True}, "`rounds` is True: input should be a valid integer"),
        ({"rounds": "1"}, "`rounds` is '1': input should be a valid integer; write 1, without q"),
        ({"rounds": 1.0}, "`rounds` is 1.0: input should be a valid integer; write 1"),
        ({"rounds": 1.5}, "`rounds` is 1.5: input should be a valid integer"),
        ({"dataset": {"trials": ["1"]}}, "`dataset.trials.0` is '1': "),
        ({"dataset": {"name": 12}}, "`dataset.name` is 12: input should be a valid string; put it"),
        ({"dataset": {"synthetic": 1}}, "`dataset.synthetic` is 1: input should be a valid boo"),
        ({"dataset": {"synthetic": "true"}}, "; write true, without quotes"),
        ({"memory": {"momentum": "0.1"}}, "; write 0.1, without quotes"),
        ({"memory": {"momentum": False}}, "`memory.momentum` is False: input should be a valid n"),
        ({"evaluate": {"cmfp_k": True}}, "`evaluate.cmfp_k.0` is True"),
        ({"variants": {"a": {"rounds": True}}}, "variants.a: configuration: `rounds` is True"),
        ({"variants": {1: {}}}, "put it in quotes"),
    ],
)
def test_types_are_strict_and_the_message_says_what_to_write(
    overlay: dict[str, Any], message: str
) -> None:
    """A value of another type is refused, in every section, list and overlay."""
    from salcr.config.plan import Plan

    with pytest.raises(SalcrError) as caught:
        Plan.from_values(merge(read_configuration(DEFAULT_CONFIG), overlay))
    assert message in str(caught.value)


def test_a_whole_number_may_be_given_for_any_number() -> None:
    """`weight: 1` means 1.0, and its flag is the same: nothing would run again."""
    default = read_configuration(DEFAULT_CONFIG)
    one, one_point = (validate(merge(default, {"gpcr": {"weight": weight}})) for weight in (1, 1.0))
    assert one == one_point
    assert stage_flags(one, "train") == stage_flags(one_point, "train")


@pytest.mark.parametrize(
    "path", ["1e5", "010", "1:30", "true", "a: b", "é.pth", "#a", "2024-13-01"]
)
def test_words_that_yaml_would_misread_reach_a_stage_as_they_are(path: str) -> None:
    """A path that looks like something else is quoted in the flags of a stage and read back."""
    import shlex

    overlay = {"model": {"weights": path}}
    checked = validate(merge(read_configuration(DEFAULT_CONFIG), overlay))
    words = shlex.split(stage_flags(checked, "pretrain"))
    value = parse_value(words[words.index(flag_name("model", "weights")) + 1])
    assert value == path
    values = {
        section: dict(getattr(checked, section)) for section in ("model", "preprocess", "fgsal")
    }
    values["model"]["weights"] = value
    assert parse_settings("complexity", values).model.weights == path
