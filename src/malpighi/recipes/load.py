"""Recipe files: TOML → typed options, and back. Unknown keys and wrong types are errors that say what would do."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from malpighi.annotations.files import replacing
from malpighi.errors import RecipeError
from malpighi.recipes.cells import CellsRecipe
from malpighi.recipes.recipe import Recipe

AUTO = "auto"
"""Value of a key that `plan` fills from data and machine."""

_FILLED = ("task",)  # keys outside of sections that may be "auto"


def kind_of(raw: Mapping[str, Any]) -> type[Recipe] | type[CellsRecipe]:
    """What a recipe's `task` says it is."""
    return CellsRecipe if raw.get("task") == "cells" else Recipe


def list_recipes() -> dict[str, str]:
    """Names of the recipes that come with malpighi → what each one is, in one line."""
    return {name: about for group in recipes_by_task().values() for name, about in group.items()}


def recipes_by_task() -> dict[str, dict[str, str]]:
    """Task, as recipes name it → the shipped recipes of that task, by name in the order of their numbers, and what each one is."""
    shipped = (f.name.removesuffix(".toml") for f in files("malpighi.recipes").iterdir() if f.name.endswith(".toml"))
    groups: dict[str, dict[str, str]] = {}
    for name in sorted(shipped, key=_numbered):
        raw = tomllib.loads(recipe_text(name))
        groups.setdefault(str(raw.get("task", "ftu")), {})[name] = str(raw.get("about", ""))
    return groups


def _numbered(name: str) -> list[str]:
    """A name as what it is sorted by: 2nd comes before 10th."""
    return [part.zfill(4) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def recipe_text(name: str) -> str:
    """The TOML of a shipped recipe, comments and all."""
    path = files("malpighi.recipes") / f"{name}.toml"
    if not path.is_file():
        known = list_recipes()
        raise RecipeError(
            f"recipe {name!r} is not known{_nearest(name, known)}; known: {', '.join(known)}; or give a .toml file"
        )
    return path.read_text(encoding="utf-8")


def read_raw(recipe: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """A shipped recipe by name, or a TOML file by path, with `key.key=value` overrides; everything but "auto" is checked.

    Raises:
        RecipeError: no such recipe or file, not TOML, an unknown key, a value of the wrong type or out of range.
    """
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file; `malpighi recipes NAME > {path.name}` makes one")
        text, where = _file_text(path), str(path)
    else:
        text, where = recipe_text(recipe), f"recipe {recipe}"
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: not valid TOML: {error}") from error
    raw.setdefault("name", path.stem if path.suffix == ".toml" else recipe)
    check_keys(raw, where)
    for override in overrides:
        _override(raw, override)
        check_keys(raw, f"--set {override}")
    _build({key: _told(value) for key, value in raw.items() if not (key in _FILLED and value == AUTO)}, where)
    return raw


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error}); save it as UTF-8 text") from error


def _told(values: Any) -> Any:
    """A section without the values that are still to be filled."""
    return {key: _told(value) for key, value in values.items() if value != AUTO} if isinstance(values, Mapping) else values


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override}: write it as section.key=value, for example --set train.steps=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string: --set model.encoder=resnet34
    *sections, last = key.strip().split(".")
    table = raw
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {override}: {section} is a value, not a section")
    table[last] = value


def check_keys(raw: Mapping[str, Any], where: str) -> None:
    """Every key is known, or the error names the nearest known one."""
    known = dict(_leaves(kind_of(raw)))
    sections = {".".join(parts[:n]) for parts in (key.split(".") for key in known) for n in range(1, len(parts))}
    for key, value in _flatten(raw):
        if key in sections and not isinstance(value, Mapping):
            raise RecipeError(f"{where}: {key} is a section; write [{key}] and its keys below it")
        if key not in known:
            raise RecipeError(
                f"{where}: unknown key {key!r}{_nearest(key, known)}; `malpighi recipes auto` shows the common ones"
            )


def build(raw: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """The typed recipe of a task that `train` knows. Keys left out have the default of their options.

    Raises:
        RecipeError: a value of the wrong type or out of range, or one that is still "auto".
    """
    if kind_of(raw) is not Recipe:
        raise RecipeError(f"{where}: is of single cells; train it with `malpighi cycle --task cells`")
    check_keys(raw, where)
    for key, value in _flatten(raw):
        if value == AUTO and ("." in key or key in _FILLED):
            raise RecipeError(f'{where}: {key} = "auto" cannot be filled in; give a value')
    recipe = _build(raw, where)
    assert isinstance(recipe, Recipe)
    return recipe


def build_cells(raw: Mapping[str, Any], where: str = "recipe") -> CellsRecipe:
    """The typed recipe of single cells from image-level labels.

    Raises:
        RecipeError: as `build`; or it is of another task.
    """
    if kind_of(raw) is not CellsRecipe:
        raise RecipeError(f'{where}: its task is "{raw.get("task", "ftu")}", not "cells"; train it with `malpighi train`')
    check_keys(raw, where)
    recipe = _build(raw, where)
    assert isinstance(recipe, CellsRecipe)
    return recipe


def _build(raw: Mapping[str, Any], where: str) -> Recipe | CellsRecipe:
    from pydantic import TypeAdapter, ValidationError

    kind = kind_of(raw)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part in _names(kind))
        message = first["msg"].removeprefix("Value error, ")
        came = "" if is_dataclass(first["input"]) or isinstance(first["input"], dict) else f"; it is {first['input']!r}"
        named = "" if message.startswith(f"{key}.") else f"{key}: "  # checks across the keys of a section name them
        raise RecipeError(f"{where}: {named}{message}{came}") from error


def write_recipe(recipe: Recipe | CellsRecipe, path: Path) -> None:
    """Write every value of a resolved recipe as TOML; `build(read_raw(path))` gives an equal one."""
    import tomli_w

    with replacing(path) as part:
        part.write_text(tomli_w.dumps(json.loads(json.dumps(asdict(recipe)))), encoding="utf-8")


def load_recipe(path: Path) -> Recipe:
    """A resolved recipe, as a run holds it."""
    return build(read_raw(str(path)), str(path))


def _leaves(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(kind)
    for f in fields(kind):
        if is_dataclass(hints[f.name]):
            yield from _leaves(hints[f.name], f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, hints[f.name]


def _names(kind: type) -> set[str]:
    return {part for key, _ in _leaves(kind) for part in key.split(".")}


def _flatten(raw: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in raw.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _nearest(key: str, known: Iterable[str]) -> str:
    candidates = list(known)
    close = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6)
    if not close:  # "steps" is nearer to "train.steps" by its last word
        close = [c for c in candidates if c.rpartition(".")[2] == key.rpartition(".")[2]][:1]
    return f"; did you mean {close[0]!r}?" if close else ""
