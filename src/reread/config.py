"""Configuration: frozen dataclasses to and from TOML, with `a.b=c` overrides, and names with settings.

A recipe names only what differs from the defaults (or from the recipe named by its `base` key).
An unknown key or a value of the wrong type is an error that names the key and the nearest one.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reread.errors import BadInput, UnknownName

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Spec:
    """A name with settings, written as a call: "taylor", "polynomial(degree=3)", "mixture(taylor, relu)".

    parts are specs themselves; a setting that is no number or quoted text is the text that stands there
    (unit=sentence, levels=paragraph+sentence).  str() gives a text that parses back to an equal Spec.
    """

    name: str
    parts: tuple[Spec, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        inside = [str(part) for part in self.parts] + [f"{key}={_written(value)}" for key, value in self.settings]
        return f"{self.name}({', '.join(inside)})" if inside else self.name

    @staticmethod
    def parse(text: str) -> Spec:
        """Raises BadInput for a text that is no such call; nothing in it is ever run."""
        try:
            return Spec._from(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise BadInput("not a name with settings", got=text, allowed="name or name(part, key=value)") from error

    @staticmethod
    def _from(node: ast.expr) -> Spec:
        if isinstance(node, ast.Name):
            return Spec(node.id)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError(ast.dump(node))
        settings: list[tuple[str, Any]] = []
        for keyword in node.keywords:
            if keyword.arg is None:
                raise ValueError("**")
            if keyword.arg in dict(settings):
                raise ValueError(f"{keyword.arg} is named twice")
            settings.append((keyword.arg, _value(keyword.value)))
        return Spec(node.func.id, tuple(Spec._from(part) for part in node.args), tuple(settings))


def _value(node: ast.expr) -> Any:
    """A literal, or the text of what is none."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node).replace(" ", "")


def _written(value: Any) -> str:
    """As `_value` reads it back: bare where it can be, else quoted."""
    if isinstance(value, str):
        try:
            if _value(ast.parse(value, mode="eval").body) == value:
                return value
        except SyntaxError:
            pass
    return repr(value)


def settings_of(spec: Spec, function: Callable[..., Any]) -> dict[str, Any]:
    """The settings of a spec, checked against the keyword-only parameters of what it names, and of their defaults'
    types.  Raises BadInput, UnknownName."""
    known = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    if spec.parts:
        raise BadInput(
            f"settings of {spec.name} are written key=value", got=str(spec), allowed=", ".join(known) or "none"
        )
    settings: dict[str, Any] = {}
    for key, value in spec.settings:
        if key not in known:
            raise UnknownName(f"setting of {spec.name}", key, known or ("none",))
        kind = type(known[key])
        value = float(value) if kind is float and type(value) is int else str(value) if kind is str else value
        if type(value) is not kind:
            raise BadInput(f"{key} of {spec.name} must be of type {kind.__name__}", got=value)
        settings[key] = value
    return settings


def read_toml(path: Path | str) -> dict[str, Any]:
    """The recipe as a dict, laid over the recipe that its `base` key names (relative to it)."""
    path = Path(path)
    if not path.is_file():
        raise BadInput("the recipe is not there", got=str(path), todo="the repository's recipes are in recipes/")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    base = data.pop("base", None)
    return merge(read_toml(path.parent / base), data) if base else data


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, tables key by key, everything else replaced."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def overrides(settings: Sequence[str]) -> dict[str, Any]:
    """["a.b=3", "name=x"] as nested dicts; values are TOML, and plain text where they are not."""
    result: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise BadInput("a setting is key=value", got=setting, todo="for instance --set optim.learning_rate=1e-3")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def build(kind: type[T], data: dict[str, Any], where: str = "") -> T:
    """The frozen dataclass `kind` from nested dicts.  Raises UnknownName, BadInput."""
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        if key not in names:
            raise UnknownName(f"setting in {where or kind.__name__}", key, names)
        values[key] = _convert(hints[key], value, f"{where}.{key}" if where else key)
    try:
        return kind(**values)
    except TypeError as error:
        missing = [f.name for f in dataclasses.fields(kind) if f.name not in values]  # type: ignore[arg-type]
        raise BadInput(f"settings are missing in {where or kind.__name__}", got=", ".join(missing)) from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [a for a in typing.get_args(hint) if a is not type(None)]
        return None if value is None else _convert(options[0], value, where)
    if origin is tuple:
        values = value if isinstance(value, list | tuple) else (value,)  # one value is a list of one
        return tuple(_convert(typing.get_args(hint)[0], v, where) for v in values)
    if origin is dict:
        if not isinstance(value, dict):
            raise BadInput(f"{where} must be a table", got=value)
        return {k: _convert(typing.get_args(hint)[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise BadInput(f"{where} must be a table", got=value)
        return build(hint, value, where)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise BadInput(f"{where} must be of type {hint.__name__}", got=value)
    return value


def at_least(config: Any, least: float, *names: str) -> None:
    """Raise BadInput for the first of these settings that is below `least`, or holds a value that is."""
    for name in names:
        value = getattr(config, name)
        if not all(one >= least for one in (value if isinstance(value, tuple) else (value,))):  # nan is refused too
            raise BadInput(f"{name} must be {least} or more", got=value)


def each_once(config: Any, *names: str) -> None:
    """Raise BadInput for the first of these lists that is empty or has a value twice."""
    for name in names:
        values = getattr(config, name)
        if not values or len(set(values)) < len(values):
            raise BadInput(f"{name} must be named, each once", got=", ".join(map(str, values)) or "none")


LATER = {"later": True}
"""Of a setting that older versions did not have: runs that began without it go on as long as it is not used."""


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain dicts, as JSON and TOML want them; a field marked LATER is left out where it has its default."""
    found = json.loads(json.dumps(dataclasses.asdict(config)))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found[field.name] = to_dict(value)
        elif field.metadata.get("later") and value == field.default:
            del found[field.name]
    return found
