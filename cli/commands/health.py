"""`fracture-queue health`."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

import click

from core.alive import ROLES, NoSignOfLife, seconds_since_life
from core.settings import Settings

#: A loop that has not turned for so long, or for so many heartbeats if that is longer, is taken for stuck.
_PATIENCE_SECONDS, _PATIENCE_BEATS = 60.0, 4
_WEB_SECONDS = 5.0


@click.command()
@click.argument("role", type=click.Choice([*ROLES, "web"]))
def health(role: str) -> None:
    """Say whether the process of ROLE on this machine lives and does its rounds; for compose and other keepers.

    Exit code 0: it does; 1: it does not, and starting it again may help. A database or a broker that is away changes
    nothing, because no new start would bring it back; `/readyz` and `fracture-queue check` tell of those.
    """
    settings = Settings.from_env(os.environ)  # not through cli.environment, which loads the database's libraries
    click.echo(_web(settings) if role == "web" else _loop(settings, role))


def _loop(settings: Settings, role: str) -> str:
    patience = max(_PATIENCE_SECONDS, _PATIENCE_BEATS * settings.heartbeat_seconds)
    ago = seconds_since_life(settings.runtime, role)
    if ago > patience:
        raise NoSignOfLife(f"The {role} has not done its rounds for {ago:.0f} seconds.")
    return f"The {role} did its rounds {ago:.0f} seconds ago."


def _web(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104 - it is looked at
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/healthz"
    try:
        with urllib.request.urlopen(address, timeout=_WEB_SECONDS):
            return f"The page answers at {address}."
    except OSError as error:  # URLError and timeouts are
        raise NoSignOfLife(f"The page does not answer at {address}: {getattr(error, 'reason', error)}.") from error
