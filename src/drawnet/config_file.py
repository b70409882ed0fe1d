"""config.json: a run's settings, written and read back with every key and value checked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from drawnet.data import ImageOptions
from drawnet.models.registry import CONFIGS, type_name
from drawnet.presets import RunConfig
from drawnet.train import TrainingConfig

FORMAT_VERSION = 3
# Keys of `training` that a version was the first to have, and what was done before.
ADDED: dict[int, dict[str, Any]] = {
    2: {"optimizer": "adam", "objective": "likelihood", "weight_prior": False},
    3: {"engine": "plain"},
}


def config_content(config: RunConfig) -> dict[str, Any]:
    """A run's settings as JSON."""
    return {
        "format_version": FORMAT_VERSION,
        "dataset": config.dataset,
        "images": dataclasses.asdict(config.images),
        "model": {"type": type_name(config.model), **dataclasses.asdict(config.model)},
        "training": dataclasses.asdict(config.training),
    }


def read_config(file: Path) -> tuple[RunConfig, dict[str, Any]]:
    """The settings in a checkpoint's `config.json`, and all of its content.

    Raises:
        ValueError: damaged, with unknown or missing keys, or written by a newer drawnet; the message names the file.
        FileNotFoundError: no such file.
    """
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(content, dict) or not isinstance(version := content.get("format_version"), int):
        raise ValueError(f"{file} has no format_version: it is not a drawnet configuration")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{file} has format_version {version}, this drawnet reads up to {FORMAT_VERSION}: update drawnet"
        )
    _check_keys(file, "", content, {"format_version", "dataset", "images", "model", "training", "trained"})
    for key in ("images", "model", "training"):
        if not isinstance(content[key], dict):
            raise ValueError(f"{file}: {key} is not an object")
    model = dict(content["model"])
    if (kind := model.pop("type", None)) not in CONFIGS:
        raise ValueError(f"{file}: model.type is {kind!r}, this drawnet knows {', '.join(CONFIGS)}")
    images = dict(content["images"])
    if isinstance(images.get("image_size"), list):
        images["image_size"] = tuple(images["image_size"])  # JSON has no tuples
    if not isinstance(content["dataset"], str):
        raise ValueError(f"{file}: dataset is {content['dataset']!r}: it must be a name")
    training = content["training"]
    for first_version, values in ADDED.items():
        if version < first_version:
            training = {**values, **training}
    config = RunConfig(
        dataset=content["dataset"],
        images=build_dataclass(ImageOptions, file, "images", images),
        model=build_dataclass(CONFIGS[kind], file, "model", model),
        training=build_dataclass(TrainingConfig, file, "training", training),
    )
    return config, content


def build_dataclass(cls: Any, file: Path, where: str, content: Any) -> Any:
    """A frozen dataclass from its JSON object, refusing unknown and missing keys and bad values.

    Args:
        cls: the dataclass.
        file: where the object is from, for the messages.
        where: its key there.
        content: the object.

    Raises:
        ValueError: see above; the message names file and key.
    """
    hints = get_type_hints(cls)
    _check_keys(file, where, content, set(hints))
    for key, value in content.items():
        if not _is_a(value, hints[key]):
            raise ValueError(f"{file}: {where}.{key} is {value!r}: it must be {_name(hints[key])}")
    try:
        return cls(**content)
    except ValueError as error:
        raise ValueError(f"{file}: {where}: {error}") from error


def _check_keys(file: Path, where: str, content: Any, expected: set[str]) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{file}: {where or 'the whole'} is not an object")
    for key in sorted(content.keys() - expected):
        raise ValueError(f"{file}: unknown key {where + '.' if where else ''}{key}")
    for key in sorted(expected - content.keys()):
        raise ValueError(f"{file}: missing key {where + '.' if where else ''}{key}")


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _is_a(value: Any, hint: Any) -> bool:
    """isinstance for the annotations that configurations use."""
    if get_origin(hint) in (Union, UnionType):
        return any(_is_a(value, choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return (
            isinstance(value, tuple) and len(value) == len(get_args(hint)) and all(map(_is_a, value, get_args(hint)))
        )
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
