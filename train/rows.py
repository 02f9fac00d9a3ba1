"""What a comparison is: its rows, its data, its budget and what is expected of it, read from a YAML file."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamcolor.colorizers.registry import find
from streamcolor.errors import CallError
from streamcolor.train.loop import LoopRecipe
from streamcolor.train.recipes import UNBOUNDED, family_of, read_recipe

BUILT_IN = ("grey", "truth")
"""Rows without a model: no color at all, and the colors that were there."""

# Sides of scored pictures: multiples that every network takes.
MULTIPLE = 32


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """A line of the table.

    model: id in the registry, ``grey`` or ``truth``. settings: hyper-parameters by the names of the model's recipe;
    none (null): nothing is trained, the weights that ship are taken. start: hyper-parameters that are files of weights,
    with the row that they come from, ``ROW`` or ``ROW/FOLDER`` for a folder of its run. weights: the row whose weights
    are taken, with other switches. data: which part of the training data. share: of the budget. steps_of: the row
    that lends its number of steps. sets: what is scored. shown: in the picture grid. note: said in the table.
    """

    model: str
    settings: dict[str, Any] | None = None
    start: dict[str, str] = Field(default_factory=dict)
    weights: str | None = None
    data: Literal["all", "stills", "clips"] = "all"
    share: float = Field(default=1.0, gt=0)
    steps_of: str | None = None
    sets: tuple[Literal["stills", "film"], ...] = ("stills", "film")
    shown: bool = False
    note: str = ""

    @property
    def trained(self) -> bool:
        """Whether this row has a training run of its own."""
        return self.settings is not None and self.weights is None

    @property
    def learned(self) -> bool:
        """Whether its weights were trained here, by this row or by another."""
        return self.settings is not None or self.weights is not None

    def needs(self) -> set[str]:
        """Rows that must be there before."""
        rows = {path.partition("/")[0] for path in self.start.values()} | {self.weights, self.steps_of}
        return {name for name in rows if name}


class Amounts(_Part):
    """How much data. stills, clips: most that are trained on. held_stills, held_clips: most that are held back.
    targets: held stills that are scored. distances: in frames, from the reference to the frame that is scored."""

    stills: int = Field(default=600, ge=2)
    clips: int = Field(default=200, ge=0)
    held_stills: int = Field(default=200, ge=2)
    held_clips: int = Field(default=20, ge=0)
    targets: int = Field(default=60, ge=2)
    distances: tuple[int, ...] = (1, 8, 32, 128)


class Direction(_Part):
    """An expectation: ``figure`` of ``more`` is greater than that of ``less``.

    claim: in words. source: where it is from. more, less: ``ROW`` or ``ROW@SET``, or lists of such, of which every pair
    is looked at. set: where none is named. minus: a set whose figure is taken off on either side. why: the reason for
    which it cannot be measured here; then there are no rows. comment: on what came of it.
    """

    claim: str
    source: str
    figure: str = "psnr"
    set: str = "related"
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    minus: str | None = None
    why: str = ""
    comment: str = ""


class Comparison(_Part):
    """A configuration. size: side of the pictures in pixels. seconds: of training, for every learned row."""

    size: int = 128
    seconds: float = Field(default=100.0, gt=0)
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    data: Amounts = Amounts()
    rows: dict[str, Row]
    directions: tuple[Direction, ...] = ()

    def identity(self, name: str) -> str:
        """SHA-256 of all that a row depends on; a row is done only once for each."""
        row = self.rows[name]
        parts = [row.model_dump_json(exclude={"shown", "note"}), self.data.model_dump_json()]
        parts += [str((self.size, self.seconds, self.seed)), *(self.identity(other) for other in sorted(row.needs()))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_comparison(path: Path, *, size: int | None = None, seconds: float | None = None) -> Comparison:
    """A configuration from a YAML file; size and seconds win over what it says.

    Raises CallError with the place of what is wrong: an unknown key, model, row or hyper-parameter, a bad value.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CallError(f"the configuration {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise CallError(f"{path} is not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(values, dict):
        raise CallError(f"{path} is no configuration of a comparison: it has no rows")
    for entry in values.get("directions") or ():
        # One row need not be written as a list.
        for side in ("more", "less") if isinstance(entry, dict) else ():
            if isinstance(entry.get(side), str):
                entry[side] = [entry[side]]
    values |= {name: value for name, value in (("size", size), ("seconds", seconds)) if value is not None}
    try:
        comparison = Comparison.model_validate(values)
    except ValidationError as error:
        raise CallError(f"{path}: {_sentence(error)}") from error
    _check(comparison, path)
    return comparison


def chosen_rows(comparison: Comparison, only: Iterable[str]) -> list[str]:
    """Names of the rows to be done, in order, with those that they need. Raises CallError for an unknown one."""
    wanted = set(only)
    for name in sorted(wanted):
        _known(name, comparison.rows, "row")
    names = list(comparison.rows)
    for name in reversed(names):
        if name in wanted:
            wanted |= comparison.rows[name].needs()
    return [name for name in names if name in wanted] if wanted else names


def recipe_of(
    comparison: Comparison,
    name: str,
    loop: LoopRecipe,
    data: Path,
    *,
    steps: int,
    start: Mapping[str, Path] | None = None,
) -> Any:
    """The recipe of a learned row, ended by ``steps`` alone. start: files by hyper-parameter.

    Raises CallError for a hyper-parameter that its model does not have.
    """
    row = comparison.rows[name]
    settings = {key.replace("-", "_"): value for key, value in (row.settings or {}).items()}
    entries = {entry.name: entry for entry in fields(family_of(row.model).RECIPES[row.model])}
    # One process: a second one for the data would take a second processor, and be no part of the measured time.
    common: dict[str, object] = {"workers": 0}
    # The proportions of the papers: 256, of pictures of 288 (attention-exemplar), crops of 224 of it (stylization).
    sizes = {"size": comparison.size, "short_side": comparison.size * 9 // 8, "crop": comparison.size * 7 // 64 * 8}
    common |= {key: value for key, value in sizes.items() if key in entries}
    for entry in entries.values():
        if entry.name.endswith("epochs") and entry.default is not None:
            common[entry.name] = UNBOUNDED
    rate = settings.pop("rate", None)
    told: dict[str, object] = {**common, **settings, **(start or {})}
    return read_recipe(row.model, data, loop, told, rate=None if rate is None else float(rate), steps=steps)


def _check(comparison: Comparison, path: Path) -> None:
    if comparison.size % MULTIPLE or comparison.size < MULTIPLE:
        raise CallError(f"pictures of {comparison.size} pixels do not fit all networks; take a multiple of {MULTIPLE}")
    before = list[str]()
    folders = dict[str, str]()
    for name, row in comparison.rows.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:_ -]*", name):
            raise CallError(f"{path}: {name!r} is no name of a row; take letters, digits and . : _ -")
        other = folders.setdefault(folder_name(name), name)
        if other != name:
            raise CallError(f"{path}: the rows {other!r} and {name!r} would share a folder; rename one")
        if row.model not in BUILT_IN:
            try:
                find(row.model)
                if row.settings is not None:
                    files = {key: Path(value) for key, value in row.start.items()}
                    recipe_of(comparison, name, LoopRecipe(Path()), Path(), steps=1, start=files)
            except CallError as error:
                raise CallError(f"{path}: row {name}: {error}") from error
        for needed in sorted(row.needs()):
            _known(needed, before, "earlier row", f"{path}: row {name}: ")
            if not comparison.rows[needed].trained:
                raise CallError(f"{path}: row {name}: {needed} is not trained; give it settings")
        if (row.model in BUILT_IN and row.learned) or ((row.start or row.steps_of) and not row.trained):
            raise CallError(f"{path}: row {name} trains nothing; leave out settings, weights, start and steps_of")
        before.append(name)
    for direction in comparison.directions:
        for side in (*direction.more, *direction.less):
            _known(side.partition("@")[0], comparison.rows, "row", f"{path}: {direction.claim!r}: ")


def folder_name(row: str) -> str:
    """The folder of a row; not every file system takes a colon."""
    return row.replace(":", "-").replace(" ", "-")


def _known(name: str, names: Iterable[str], what: str, where: str = "") -> None:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
        raise CallError(f"{where}no {what} {name!r}: {hint}")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        value = json.dumps(first["input"], default=str)[:60]
        return f"{place or 'the whole'}: {first['msg'].lower()} ({value})"
    parts: dict[str, type[_Part]] = {"rows": Row, "data": Amounts, "directions": Direction}
    part = parts.get(str(first["loc"][0]), Comparison) if len(first["loc"]) > 1 else Comparison
    key = str(first["loc"][-1])
    near = difflib.get_close_matches(key, part.model_fields, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(part.model_fields)}"
    return f"unknown key {place}: {hint}"
