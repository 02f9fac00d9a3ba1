"""``--config FILE``: every option of a command may stand in a YAML file under its long name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import typer
import yaml

from streamcolor.errors import CallError


def read_configuration(path: Path, known: set[str] | None) -> dict[str, Any]:
    """Keys and values of a YAML mapping. Raises CallError with file and line for anything that is not ``known``."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CallError(f"the configuration {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise CallError(f"{path}{line}: this is not YAML ({getattr(error, 'problem', error)})") from error
    if values is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise CallError(f"{path}:1: a configuration is a list of 'option: value' lines")
    for key, _ in node.value:
        name = str(key.value).replace("-", "_")
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; options are {', '.join(sorted(known))}"
            raise CallError(f"{path}:{key.start_mark.line + 1}: unknown key {key.value!r}{hint}")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def apply_configuration(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of the eager ``--config`` option: what the file says becomes the default of the other options."""
    if path is not None:
        options = {str(p.name): p for p in context.command.params if p.name not in {"config", None}}
        values = read_configuration(path, set(options))
        for name, value in values.items():
            if options[name].multiple and not isinstance(value, list):
                values[name] = [value]
        context.default_map = {**(context.default_map or {}), **values}
    return path
