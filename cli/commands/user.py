"""`fracture-queue user`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cli.environment import actor_here, installation_here
from cli.output import console
from core.accounts import hash_password
from core.errors import ConfigurationError
from core.records import users
from core.tables import Role

_ROLES = click.Choice([role.value for role in Role])


def _password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    from_file = click.option(
        "--password-file", type=click.Path(path_type=Path), metavar="FILE", help="Read it from a file's first line."
    )
    from_stdin = click.option("--password-stdin", is_flag=True, help="Read it as one line from standard input.")
    return from_file(from_stdin(command))


@click.group()
def user() -> None:
    """Add people who may sign in, change and disable them. From the first one on everybody signs in.

    Roles: a viewer looks; a reviewer also uploads, reviews and retries; an admin may everything.
    """


@user.command()
@click.argument("name")
@click.option("--role", type=_ROLES, required=True)
@_password_options
def add(name: str, role: str, password_stdin: bool, password_file: Path | None) -> None:
    """Add a person; asks for the password twice.

    Example: fracture-queue user add anna --role admin
    """
    _, database = installation_here()
    # Hashed outside the transaction: it takes longer than all else and would keep other writers waiting.
    hashed = hash_password(_password(password_stdin, password_file))
    with database.transaction() as session:
        added = users.add_user(session, name, Role(role), hashed, actor=actor_here())
    click.echo(f"{added.name} may sign in as {added.role}.")


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_(as_json: bool) -> None:
    """List everybody."""
    _, database = installation_here()
    with database.reading() as session:
        found = users.list_users(session)
    if as_json:
        click.echo(json.dumps([each.document() for each in found], indent=2))
        return
    table = Table("Name", "Role", "Added", "Disabled")
    for each in found:
        table.add_row(each.name, each.role, f"{each.created_at:%Y-%m-%d %H:%M}", "yes" if each.disabled_at else "")
    console().print(table)


@user.command("role")
@click.argument("name")
@click.argument("role", type=_ROLES)
def role_(name: str, role: str) -> None:
    """Change what somebody may do, at once."""
    _, database = installation_here()
    with database.transaction() as session:
        changed = users.set_role(session, name, Role(role), actor=actor_here())
    click.echo(f"{changed.name} has the role {changed.role}.")


@user.command()
@click.argument("name")
@_password_options
def password(name: str, password_stdin: bool, password_file: Path | None) -> None:
    """Change somebody's password; ends their sessions."""
    _, database = installation_here()
    hashed = hash_password(_password(password_stdin, password_file))
    with database.transaction() as session:
        changed = users.set_password(session, name, hashed, actor=actor_here())
    click.echo(f"{changed.name} has a new password and has to sign in again.")


@user.command()
@click.argument("name")
def disable(name: str) -> None:
    """Shut somebody out at once. What they did stays under their name."""
    _, database = installation_here()
    with database.transaction() as session:
        changed = users.set_disabled(session, name, disabled=True, actor=actor_here())
        admin_left = users.any_admin(session)
    click.echo(f"{changed.name} cannot sign in.")
    if not admin_left:
        click.echo("There is no admin left; `fracture-queue user add NAME --role admin` makes one.", err=True)


@user.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let somebody in again."""
    _, database = installation_here()
    with database.transaction() as session:
        changed = users.set_disabled(session, name, disabled=False, actor=actor_here())
    click.echo(f"{changed.name} may sign in again as {changed.role}.")


@user.command("sign-out")
@click.argument("name")
def sign_out(name: str) -> None:
    """End all sessions of somebody, on every machine."""
    _, database = installation_here()
    with database.transaction() as session:
        changed = users.sign_out_everywhere(session, name, actor=actor_here())
    click.echo(f"{changed.name} is signed out everywhere.")


def _password(from_stdin: bool, file: Path | None) -> str:
    """Read a password from where it was said to be; never from the command line, which everybody on a machine sees."""
    if from_stdin and file:
        raise click.UsageError("Give --password-stdin or --password-file, not both.")
    if file:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigurationError(f"The password file {file} cannot be read: {reason}.") from error
        return lines[0] if lines else ""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not _is_terminal():
        raise click.UsageError("Here is no terminal to ask on; give --password-stdin or --password-file FILE.")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)
    return answer


def _is_terminal() -> bool:
    return sys.stdin.isatty()
