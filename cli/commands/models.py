"""`fracture-queue models`."""

from __future__ import annotations

import getpass
import json

import click
from rich.console import Console
from rich.table import Table

from cli.environment import installation_here, settings_here
from core.bundle import find_bundles
from core.records.models import list_models, register_bundles, set_active


@click.group()
def models() -> None:
    """List, activate and deactivate models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_(as_json: bool) -> None:
    """List the models that this installation knows."""
    settings, database = installation_here()
    with database.transaction() as session:
        versions = register_bundles(session, find_bundles(settings.models), _actor())
    if as_json:
        click.echo(json.dumps([{**vars(version), "full_name": version.full_name} for version in versions], indent=2))
        return
    table = Table("Model", "Task", "Active", "Installed", "Card")
    for version in versions:
        table.add_row(
            version.full_name,
            version.task,
            "yes" if version.active else "",
            "yes" if version.installed else "no",
            version.sha256[:12],
        )
    Console().print(table)


@models.command()
@click.argument("model", metavar="NAME[/VERSION]")
def activate(model: str) -> None:
    """Have new radiographs classified by a model; another version of the same name steps back."""
    _switch(model, active=True)


@models.command()
@click.argument("model", metavar="NAME[/VERSION]")
def deactivate(model: str) -> None:
    """Stop giving new radiographs to a model. Its stored answers stay."""
    _switch(model, active=False)


def _switch(model: str, *, active: bool) -> None:
    _, database = installation_here()
    with database.transaction() as session:
        register_bundles(session, find_bundles(settings_here().models), _actor())
        chosen = set_active(session, model, active=active, actor=_actor())
        left = [version.full_name for version in list_models(session) if version.active]
    click.echo(f"{chosen.full_name} is {'active' if active else 'not active'}. Active: {', '.join(left) or 'none'}.")


def _actor() -> str:
    return f"command:{getpass.getuser()}"
