"""What every command shares: talk goes to standard error, one JSON object to standard output, errors become exit codes."""

from __future__ import annotations

import errno
import functools
import json
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from malpighi.errors import MalpighiError, RecipeError, SpacingError
from malpighi.geometry import Spacing

if TYPE_CHECKING:
    from rich.console import Console

    from malpighi.tasks.talk import Talk

JSON_OPTION = typer.Option("--json", help="Print one JSON object as the last line of standard output.")


def _spacing(text: str) -> Spacing:
    try:
        return Spacing.parse(text)
    except SpacingError as error:  # while options are parsed nothing else would make it one line
        fail(f"--spacing {text}: {str(error).partition('; ')[2]}", RecipeError.exit_code)


SPACING_OPTION = typer.Option(
    "--spacing",
    parser=_spacing,
    metavar="UM",
    help="Level-0 pixel size in µm where the files do not say: one number, or z,y,x (then a folder of slices is one volume), "
    "or px to work in pixels.",
)
CLASSES_OPTION = typer.Option("--classes", help="Names of the masks' classes, separated by commas.")
SET_OPTION = typer.Option("--set", help="Override a value of the recipe: section.key=value; repeatable.")
ONLY_OPTION = typer.Option("--only", help="Use only cases with key=value[,value]: class, stain, organ, donor, …; repeatable.")


@functools.cache
def console() -> Console:
    """The terminal: standard error, so that standard output stays machine-readable."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """One line for the user. Rich markup is understood; file names go through `rich.markup.escape`."""
    from rich.errors import MarkupError

    try:
        console().print(message, soft_wrap=True)
    except MarkupError:  # a file's name that looks like markup came unescaped
        console().print(message, soft_wrap=True, markup=False)


def print_json(result: Mapping[str, Any]) -> None:
    """The last line of standard output: `result` as one JSON object, NaN as null."""
    sys.stdout.write(json.dumps(_plain(result), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if hasattr(value, "item"):
        return _plain(value.item())
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left. Yields `advance(n=1, total=None, text=None)`.

    Example:
        with progress("reading", total=len(cases)) as advance:
            for case in cases: ...; advance()
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=False) as bars:
        bar = bars.add_task(description, total=total)

        def advance(n: float = 1, total: float | None = None, text: str | None = None) -> None:
            bars.update(bar, advance=n, total=total, description=text)

        yield advance


def talk() -> Talk:
    """The terminal as whole commands speak to it."""
    from malpighi.tasks.talk import Talk

    return Talk(say, progress)


def only_of(given: Sequence[str] | None) -> dict[str, list[str]]:
    """--only key=a,b … as key → values; a key given twice adds up."""
    where: dict[str, list[str]] = {}
    for item in given or ():
        key, equals, values = item.partition("=")
        if not equals or not values:
            raise RecipeError(f"--only {item}: write it as key=value[,value], for example --only stain=pas")
        where.setdefault(key.strip(), []).extend(value.strip() for value in values.split(","))
    return where


def names_of(classes: str) -> list[str]:
    """--classes a,b as names."""
    return [name.strip() for name in classes.split(",") if name.strip()]


def with_classes(overrides: Sequence[str] | None, classes: str) -> list[str]:
    """--set …, and --classes a,b as what it is short for there."""
    names = names_of(classes)
    return [*(overrides or ()), *([f"data.classes={json.dumps(names, ensure_ascii=False)}"] if names else [])]


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Expected errors end in one clear line and their exit code; anything else is a bug and shows its traceback."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToTerminal()])
        warnings.showwarning = _show_warning
        try:
            return function(*args, **kwargs)
        except MalpighiError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on from what is finished, or begins again where nothing is kept", 130)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                place = error.filename or kwargs.get("out") or kwargs.get("output") or "output"
                fail(f"{place}: the disk is full; free space and run the same command again", 4)
            if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR):
                fail(f"{error.filename}: {error.strerror}; check the path and its permissions", 4)
            raise

    return wrapper


class _ToTerminal(logging.Handler):
    """Log lines go where everything else is said, above a progress bar that is shown; a file opened again says nothing new."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if line not in self._said:
            self._said.add(line)
            console().print(line, style="yellow", markup=False, soft_wrap=True)


def fail(message: str, code: int) -> NoReturn:
    """Print `message` as an error and leave with exit code `code`."""
    from rich.markup import escape

    console().print(f"[bold red]error:[/bold red] {escape(message)}", soft_wrap=True)
    raise typer.Exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        from rich.markup import escape

        console().print(f"[yellow]warning:[/yellow] {escape(str(message))}", soft_wrap=True)
