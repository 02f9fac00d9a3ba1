"""From words to a recipe: every model's hyper-parameters by the names of its recipe's fields.

A family of models is one module with three names: ``RECIPES`` (model id -> recipe class), ``as_published`` (the loop
with the optimizer of the paper) and ``train``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from streamcolor.errors import CallError
from streamcolor.train.loop import LoopRecipe

OnStep = Callable[[int, dict[str, float]], None]

# Module of the family that a model belongs to.
FAMILIES: Mapping[str, str] = {
    "propagator": "streamcolor.train.propagator",
    "propagator-b": "streamcolor.train.propagator",
    "chroma-prior": "streamcolor.train.prior",
    "autoencoder": "streamcolor.train.stable",
    "unet-basic": "streamcolor.train.stable",
    "stable-colorizer": "streamcolor.train.stable",
    "agin": "streamcolor.train.agin",
    "attention-exemplar": "streamcolor.train.attention_exemplar",
    "stylization": "streamcolor.train.stylization",
    "resnet-cnn": "streamcolor.train.cnn",
    "cnn-classifier": "streamcolor.train.cnn",
    "unet-gan": "streamcolor.train.unet_gan",
    "attention-unet-gan": "streamcolor.train.unet_gan",
}
# Fields of a recipe that are no hyper-parameters.
FIXED = ("model", "data", "loop")
# Fields of a loop that the command has options for, under these or other names.
OPTIONS = ("output", "steps", "rate", "seed", "threads", "accelerator", "devices", "precision", "start_from")
UNBOUNDED = 10**9


class Family(Protocol):
    """What ``train`` needs of a family's module."""

    RECIPES: Mapping[str, type]

    def as_published(self, model: str, loop: LoopRecipe) -> LoopRecipe: ...

    def train(self, recipe: Any, *, resume: bool = False, on_step: OnStep | None = None) -> Path: ...


def family_of(model: str) -> Family:
    """Raises CallError that names the nearest models."""
    if model not in FAMILIES:
        near = difflib.get_close_matches(model, FAMILIES, 1)
        raise CallError(
            f"no model {model!r} to train: "
            + (f"did you mean {near[0]!r}?" if near else f"choose {', '.join(FAMILIES)}")
        )
    family: Family = import_module(FAMILIES[model])
    return family


def read_recipe(
    model: str, data: Path, loop: LoopRecipe, settings: Mapping[str, object], *, rate: float | None, steps: int | None
) -> Any:
    """The recipe of a model. settings: values or texts by the names of its fields, or of its loop's.

    rate, steps: None leaves the published ones.

    Raises CallError for a name that the recipe does not have and for a value that does not fit.
    """
    family = family_of(model)
    kind = family.RECIPES[model]
    loop = family.as_published(model, loop)
    own = [field.name for field in fields(kind) if field.name not in FIXED]
    known = own + [field.name for field in fields(loop) if field.name not in (*OPTIONS, *own)]
    if rate is not None:
        loop = replace(loop, rate=rate)
    # Passes over the data end a run where they are given, steps where they are not.
    passes = settings.get("epochs", getattr(kind, "epochs", None))
    loop = replace(loop, steps=steps if steps is not None else loop.steps if passes is None else UNBOUNDED)
    hints = get_type_hints(type(loop)) | get_type_hints(kind)
    values = {}
    for name, value in settings.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean --{near[0].replace('_', '-')}?" if near else f"it has {', '.join(known)}"
            raise CallError(f"{model} has no hyper-parameter {name.replace('_', '-')!r}: {hint}")
        try:
            told = yaml.safe_load(value) if isinstance(value, str) and hints[name] is not str else value
            values[name] = TypeAdapter(hints[name], config=ConfigDict(coerce_numbers_to_str=True)).validate_python(told)
        except (ValidationError, yaml.YAMLError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it cannot be read"
            raise CallError(f"--{name.replace('_', '-')} {value} does not fit {model}: {reason}") from error
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    assert set(missing) <= set(FIXED), "a recipe can be made from its defaults"
    loop = replace(loop, **{name: values.pop(name) for name in list(values) if name not in own})
    return kind(model=model, data=data, loop=loop, **values)


def words_to_settings(words: list[str]) -> dict[str, object]:
    """``--name value``, ``--name=value``, ``--flag`` and ``--no-flag`` -> values by field name. Raises CallError."""
    settings: dict[str, object] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise CallError(f"{word!r} is not an option; hyper-parameters are written --name value")
        name, equals, value = word[2:].partition("=")
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        elif not equals:
            value = "false" if name.startswith("no-") else "true"
            name = name.removeprefix("no-")
        settings[name.replace("-", "_")] = value
    return settings
