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
    return {name: value for name, (_, value) in _read(path, known).items()}


def _read(path: Path, known: set[str] | None) -> dict[str, tuple[int, Any]]:
    """Line, from 1, and value of every key; raises as ``read_configuration`` does."""
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
    lines: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value).replace("-", "_"), key.start_mark.line + 1
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; options are {', '.join(sorted(known))}"
            raise CallError(f"{path}:{line}: unknown key {key.value!r}{hint}")
        if name in lines:
            raise CallError(f"{path}:{line}: {key.value!r} is in line {lines[name]} already; keep one of them")
        lines[name] = line
    named = {str(key).replace("-", "_"): value for key, value in values.items()}
    return {name: (lines.get(name, 1), value) for name, value in named.items()}


def _long_name(parameter: Any) -> str:
    """As a file writes it: of ``--json`` ``json``, whatever the function calls it; arguments go by their own name."""
    long = [option[2:].replace("-", "_") for option in parameter.opts if option.startswith("--")]
    return long[0] if long else str(parameter.name)


def apply_configuration(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of the eager ``--config`` option: what the file says becomes the default of the other options.

    Raises CallError with file and line for a value that the command line would refuse too.
    """
    if path is not None:
        offered = [p for p in context.command.params if not getattr(p, "hidden", False)]
        options: dict[str, Any] = {_long_name(p): p for p in offered if p.name not in {"config", None}}
        values = {}
        for name, (line, value) in _read(path, set(options)).items():
            option = options[name]
            try:
                values[str(option.name)] = _checked(context, option, value)
            except typer.BadParameter as error:
                raise CallError(f"{path}:{line}: {name}: {' '.join(error.message.split())}") from error
        context.default_map = {**(context.default_map or {}), **values}
    return path


def _checked(context: typer.Context, option: Any, value: Any) -> Any:
    """The value, or the list of values, as the command line would hand it over. Raises BadParameter."""
    if value is None and not option.multiple:  # the option's own default
        return None
    several = option.multiple and isinstance(value, list)
    given = [_written(one, flag=getattr(option, "is_flag", False)) for one in (value if several else [value])]
    result = given if option.multiple else given[0]
    option.process_value(context, result)
    return result


def _written(value: Any, *, flag: bool) -> Any:
    """One value as it would stand on the command line, where it is not a switch."""
    if value is None or value == "":
        raise typer.BadParameter("a value is missing")
    if isinstance(value, (list, dict, set)):
        raise typer.BadParameter(f"{value} is not one value")
    if flag and isinstance(value, bool):
        return value
    return str(value)
