"""Check configurations. Does not import torch, so that the Snakefile can use it."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from salcr.config.reading import merge, parse_value
from salcr.config.schema import Config, Seeded, section_model
from salcr.config.stages import STAGES
from salcr.errors import SalcrError

DEFAULT_CONFIG = Path(__file__).with_name("default.yaml")

# The result of stage one depends on these: variants that agree in them share one pre-training.
STAGE_ONE = ("seed", *STAGES["pretrain"].sections)

# Variants differ in how they train; the rest they have in common, and an overlay may not change it.
_TRAINING = {s for name in ("pretrain", "associate", "train") for s in STAGES[name].sections}
_COMMON = Config.model_fields.keys() - _TRAINING - {"seed", "rounds"}


def validate(values: Mapping[str, Any]) -> Config:
    """Return the checked configuration.

    Raises:
        SalcrError: unknown, missing or out-of-range keys; the message lists all of them.
    """
    return _validate(Config, values)


def variant(config: Config, name: str) -> Config:
    """Return the configuration with the overlay of one variant applied.

    Raises:
        SalcrError: the overlay holds an unknown or out-of-range key.
    """
    overlay = config.variants[name]
    for key in overlay:
        if key in _COMMON:
            raise SalcrError(
                f"variants.{name}: `{key}` is the same for all variants; give such a run its own "
                "configuration file and dataset.name"
            )
    try:
        return validate(merge(config.model_dump(), overlay))
    except SalcrError as error:
        raise SalcrError(f"variants.{name}: {error}") from None


def pretraining_owner(variants: Mapping[str, Config], name: str) -> str:
    """Return the first variant whose stage one equals that of variant `name`.

    Args:
        variants: name -> the configuration with the variant's overlay.
        name: of one of them.
    """

    def stage_one(settings: Config) -> list[Any]:
        return [getattr(settings, key) for key in STAGE_ONE]

    wanted = stage_one(variants[name])
    return next(other for other in variants if stage_one(variants[other]) == wanted)


def swept(config: Config, section: str, key: str) -> dict[str, Any]:
    """Return variant -> value of a key, for the variants that change only this key, or nothing.

    Of variants with equal values only the first is returned.
    """

    def other_keys(settings: Config) -> dict[str, Any]:
        return settings.model_dump(exclude={"variants": True, section: {key}})

    name_of: dict[Any, str] = {}
    for name in config.variants:
        settings = variant(config, name)
        if other_keys(settings) == other_keys(config):
            name_of.setdefault(getattr(getattr(settings, section), key), name)
    return {name: value for value, name in name_of.items()}


def stage_flags(config: Config, stage: str) -> str:
    """Return the command-line flags of a stage, in a fixed order and quoted for a shell."""
    words = ["--seed", str(config.seed)] if STAGES[stage].seeded else []
    for section in STAGES[stage].sections:
        for key, value in getattr(config, section).model_dump().items():
            words += [flag_name(section, key), _as_word(value)]
    return shlex.join(words)


def flag_name(section: str, key: str) -> str:
    """Return the flag of a key: `("clustering", "k1")` gives `--clustering-k1`."""
    return f"--{section}-{key}".replace("_", "-")


def parse_settings(stage: str, values: Mapping[str, Any]) -> Config:
    """Return the seed and the checked sections of a stage as a frozen `Config`.

    It holds only what the registry lists for the stage: reading another section raises an
    AttributeError, because a change of its keys would not rerun the stage.

    Args:
        stage: its name.
        values: "seed", where the stage has one, and section -> key -> value.

    Raises:
        SalcrError: a value is out of range or a key is missing.
    """
    settings: dict[str, Any] = {
        section: _validate(section_model(section), values[section], prefix=section)
        for section in STAGES[stage].sections
    }
    if STAGES[stage].seeded:
        settings |= dict(_validate(Seeded, {"seed": values["seed"]}))
    return Config.model_construct(**settings)


def _as_word(value: Any) -> str:
    """Return a word that `parse_value` reads back as the same value."""
    with suppress(SalcrError):
        if isinstance(value, str) and parse_value(value) == value:
            return value
    return json.dumps(value)


def _validate(model: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, detail, prefix) for detail in error.errors()]
        raise SalcrError("configuration: " + "\n  ".join(lines)) from None


def _explain(model: type[BaseModel], detail: Any, prefix: str) -> str:
    path = [str(part) for part in detail["loc"]]
    name = ".".join([prefix, *path] if prefix else path)
    if detail["type"] == "extra_forbidden":
        allowed = _keys_at(model, path[:-1])
        similar = _sections_with(path[-1]) or difflib.get_close_matches(path[-1], allowed, n=1)
        hint = f"; did you mean `{'` or `'.join(similar)}`?" if similar else "."
        return f"unknown key `{name}`{hint} Allowed: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"missing key `{name}`"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{name}: {message}" if name else message
    remedy = _what_to_write(detail["type"], detail["input"])
    return f"`{name}` is {detail['input']!r}: {message[0].lower()}{message[1:]}{remedy}"


_PLAIN: dict[str, list[type]] = {"int_type": [int], "float_type": [int, float], "bool_type": [bool]}


def _what_to_write(error: str, value: Any) -> str:
    """Return how to write a value that was meant rightly and has the wrong type."""
    if error == "string_type" and not isinstance(value, Mapping | list | None):
        return "; put it in quotes"
    if error == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if error in _PLAIN and isinstance(value, str):
        with suppress(SalcrError):
            if type(parse_value(value)) in _PLAIN[error]:
                return f"; write {value}, without quotes"
    return ""


def _sections_with(key: str) -> list[str]:
    """Return the full names of the keys, in any section, that have this name."""
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    return [
        f"{section}.{key}"
        for section, kind in sections.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and key in kind.model_fields
    ]


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation
    return list(model.model_fields)
