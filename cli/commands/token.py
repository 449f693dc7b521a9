"""`fracture-queue token`."""

from __future__ import annotations

import json

import click
from rich.table import Table

from cli.environment import actor_here, installation_here
from cli.output import console
from core.records import tokens
from core.tables import Role


@click.group()
def token() -> None:
    """Make and revoke keys to the API for programs. They count once somebody can sign in."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
def add(name: str, role: str) -> None:
    """Make a key and print it, once: only its sha256 is kept.

    Example: fracture-queue token add scanner --role reviewer
    """
    _, database = installation_here()
    with database.transaction() as session:
        key = tokens.add_token(session, name, Role(role), actor=actor_here())
    click.echo(key)
    click.echo("Keep it now; it is not shown again. Programs send it as `Authorization: Bearer KEY`.", err=True)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_(as_json: bool) -> None:
    """List all tokens, without their keys."""
    _, database = installation_here()
    with database.reading() as session:
        found = tokens.list_tokens(session)
    if as_json:
        click.echo(json.dumps([each.document() for each in found], indent=2))
        return
    table = Table("Name", "Role", "Added", "Last used", "Revoked")
    for each in found:
        used = f"{each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never"
        table.add_row(each.name, each.role, f"{each.created_at:%Y-%m-%d %H:%M}", used, "yes" if each.revoked_at else "")
    console().print(table)


@token.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Make a key void at once."""
    _, database = installation_here()
    with database.transaction() as session:
        revoked = tokens.revoke_token(session, name, actor=actor_here())
    click.echo(f"The token {revoked.name} is void.")
