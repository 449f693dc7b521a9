"""`fracture-queue up`: everything on this machine under one supervisor."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime

import click

from cli.environment import settings_here
from core.database import Database
from core.errors import ConfigurationError, DatabaseUnavailable, Unavailable
from core.home import only_one, prepare_home, prepare_runtime
from core.records.workers import living
from core.schema import migrate
from core.settings import Settings
from worker.notes import leave_runtime
from worker.supervisor import Role, Supervisor

#: Longest time until everything answers; measured: about 4 s on two cores.
_START_SECONDS = 60.0


@click.command()
def up() -> None:
    """Run everything on this machine: Redis, page, inbox, worker and clock, each started again when it dies.

    Example: FRACTURE_PORT=8080 fracture-queue up
    """
    from core.logs import configure_logging

    settings = settings_here()
    configure_logging("up", settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    prepare_home(settings)
    prepare_runtime(settings.runtime)
    with only_one(settings):
        settings.redis_socket.unlink(missing_ok=True)  # left by a killed predecessor
        try:
            _run(settings, stop)
        finally:
            settings.redis_socket.unlink(missing_ok=True)  # left by a killed Redis
            leave_runtime(settings.runtime)


def _run(settings: Settings, stop: threading.Event) -> None:
    from worker.main import register_installed

    _wait_for_port(settings, stop)
    database = Database(settings.database_url)
    try:
        migrate(database)
        models = register_installed(settings, database, "up")
    except DatabaseUnavailable as error:
        raise ConfigurationError(f"{error} Check FRACTURE_DATABASE_URL.") from error
    supervisor = Supervisor(
        _roles(settings), logs=settings.logs, environment=os.environ, stop_seconds=settings.stop_seconds
    )
    click.echo("Starting; this takes a few seconds ...", err=True)
    began = datetime.now(UTC)
    try:
        if supervisor.start(within_seconds=_START_SECONDS, stop=stop):
            until = time.monotonic() + _START_SECONDS
            while not stop.is_set() and not supervisor.failed and not _ready(settings, database, began):
                supervisor.tend()
                if time.monotonic() > until:
                    click.echo(f"Not everything answers yet; the logs in {settings.logs} say why.", err=True)
                    break
                stop.wait(0.1)
            else:
                if not stop.is_set() and not supervisor.failed:
                    _greet(settings, [f"{bundle.card.name} {bundle.card.version}" for bundle in models])
        supervisor.run(stop)
    finally:
        if not supervisor.failed:
            click.echo("Stopping ...", err=True)
        supervisor.stop()
    if supervisor.failed:
        raise ConfigurationError(f"{supervisor.failed} cannot run: {supervisor.last_words(supervisor.failed)}")


def _roles(settings: Settings) -> list[Role]:
    from worker.redis_server import redis_command

    def command(role: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", role]

    redis = [Role("redis", redis_command(settings), lambda: _redis_answers(settings))]
    dicom = ["dicom"] if settings.dicom else []
    return [
        *(redis if settings.uses_embedded_redis else []),
        *(Role(name, command(name)) for name in ("web", "inbox", *dicom, "worker", "beat")),
    ]


def _redis_answers(settings: Settings) -> bool:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis(unix_socket_path=str(settings.redis_socket), socket_timeout=1) as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False


def _ready(settings: Settings, database: Database, began: datetime) -> bool:
    """Tell whether the page answers and inbox and worker have reported since the start."""
    try:
        with socket.create_connection((_reachable(settings.host), settings.port), timeout=1):
            pass
        with database.reading() as session:
            return all(
                any(row.seen_at >= began for row in living(session, role=role, within_seconds=3600))
                for role in ("inbox", "worker", *(["dicom"] if settings.dicom else []))
            )
    except (OSError, Unavailable):
        return False


def _reachable(host: str) -> str:
    """Return the address under which this machine reaches its own page."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - translated, not bound


def _greet(settings: Settings, models: list[str]) -> None:
    host = _reachable(settings.host)
    shown = f"[{host}]" if ":" in host else host
    dicom = f"\n  DICOM   {settings.dicom_ae_title}, port {settings.dicom_port}" if settings.dicom else ""
    click.echo(
        f"""
Fracture Queue is ready. Research and education only, never diagnosis.

  Page    http://{shown}:{settings.port}/
  Inbox   {settings.inbox}
          Drop radiographs (DICOM, JPEG, PNG, BMP, TIFF, WebP) or folders here.{dicom}
  After   {settings.done} and {settings.failed}
  Model   {", ".join(models) or "none is active; see `fracture-queue models list`"}
  Logs    {settings.logs}

Ctrl-C stops everything."""
    )


def _wait_for_port(settings: Settings, stop: threading.Event) -> None:
    """Check that the page's port is free; one that a killed predecessor holds is released within moments."""
    until = time.monotonic() + 3
    while True:
        try:
            with socket.create_server((settings.host, settings.port)):
                return
        except OSError as error:
            if time.monotonic() > until or stop.is_set():
                raise ConfigurationError(
                    f"Port {settings.port} on {settings.host} cannot be used: {error.strerror}. "
                    "Set FRACTURE_PORT to another one."
                ) from error
            stop.wait(0.2)
