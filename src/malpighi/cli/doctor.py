"""`malpighi doctor`: what this machine has, and what malpighi would use of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from malpighi.cli.terminal import JSON_OPTION, console, print_json
from malpighi.errors import DependencyError

if TYPE_CHECKING:
    from malpighi.cli.checks import Check

_MARKS = {"ok": "[green]ok[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[bold red]fail[/bold red]"}


def doctor(json: Annotated[bool, JSON_OPTION] = False) -> None:
    """Check the machine and the installation: packages, CPU, memory, disk, GPU, and real round trips through the codecs.

    No network is used. Exit code 0 where malpighi can work (warnings included), 2 where something essential fails.

    [bold]Examples[/bold]

        malpighi doctor

        malpighi doctor --json | tail -1 > machine.json
    """
    from malpighi.cli.checks import all_checks

    with console().status("looking at this machine"):
        checks = all_checks()
    _show(checks)
    failed = [check.name for check in checks if check.state == "fail"]
    if json:
        warned = [check.name for check in checks if check.state == "warn"]
        print_json({"ok": not failed, "failed": failed, "warned": warned, "checks": [asdict(check) for check in checks]})
    if failed:
        raise typer.Exit(DependencyError.exit_code)


def _show(checks: list[Check]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for check in checks:
        cure = f"\n[dim]→ {escape(check.cure)}[/dim]" if check.cure else ""
        table.add_row(_MARKS[check.state], check.name, escape(check.found) + cure)
    console().print(table)
