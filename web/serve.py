"""Serve the application with waitress: threads, limits, and a stop that is quick and clean."""

from __future__ import annotations

import errno
import logging
import signal
import sys
from typing import Any

from waitress.server import create_server

from core.database import Database
from core.errors import ConfigurationError
from core.records.users import any_admin
from core.schema import check_schema
from core.settings import SHORTEST_KEY, Settings
from web.app import create_app
from web.door import is_loopback
from web.limits import most_body_bytes
from web.parts import parts

log = logging.getLogger(__name__)

#: Our choice: a browser opens six connections; what they wait for is mostly the database and the disk.
_THREADS = 8
#: A connection that says nothing for this long is closed; a slow upload says something all the time.
_CHANNEL_SECONDS = 120
#: Waitress itself cuts off only what is far too large, so that everything nearer gets our own sentence.
_CUT_OFF_FACTOR = 2
#: Whoever guesses the key signs sessions of their own, and can try without asking us.


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: The address is in use or not allowed, or the database's tables do not fit.
        DatabaseUnavailable: The database cannot be reached.
    """
    database = Database(settings.database_url)
    try:
        check_schema(database)
        refuse_open_door(settings, database)
    finally:
        database.dispose()
    server = open_server(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    log.info("The page is at %s", address(settings))
    # Returns after `_stop`, when the requests in hand have ended (at most 5 s).
    server.run()
    server.close()


def open_server(settings: Settings) -> Any:
    """Bind the address and return waitress's server, not yet running.

    Raises:
        ConfigurationError: The address cannot be used.
    """
    app = create_app(settings)
    with app.app_context():
        parts().door.look()  # else a probe of `/healthz`, which touches no database, would not know
    try:
        return create_server(
            app,
            host=settings.host,
            port=settings.port,
            threads=_THREADS,
            channel_timeout=_CHANNEL_SECONDS,
            max_request_body_size=_CUT_OFF_FACTOR * most_body_bytes(settings),
            ident=None,
            # Nothing believes them, but `web.security` has to see that there are some.
            clear_untrusted_proxy_headers=False,
        )
    except OSError as error:
        place = f"{settings.port} on {settings.host}"
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"Port {place} is in use; set FRACTURE_PORT to another one.") from error
        if error.errno == errno.EACCES:
            raise ConfigurationError(f"Port {place} is not allowed; set FRACTURE_PORT to one above 1023.") from error
        raise ConfigurationError(f"FRACTURE_HOST={settings.host!r} cannot be used: {error.strerror}.") from error
    except ValueError as error:  # waitress, about a host that cannot be resolved
        raise ConfigurationError(f"FRACTURE_HOST={settings.host!r} cannot be used: {error}.") from error


def refuse_open_door(settings: Settings, database: Database) -> None:
    """Refuse to listen beyond this machine unless somebody can sign in, and sessions are signed with a chosen key.

    Raises:
        ConfigurationError: Says what is missing, and what to type.
    """
    if is_loopback(settings.host):
        return
    problems = []
    if len(settings.secret_key) < SHORTEST_KEY:
        problems.append(
            "Set FRACTURE_SECRET_KEY, which signs sessions, to something that nobody guesses, at least "
            f"{SHORTEST_KEY} characters: `openssl rand -hex 32` prints one."
        )
    with database.reading() as session:
        if not any_admin(session):
            problems.append("Add somebody who can sign in: `fracture-queue user add NAME --role admin`.")
    if problems:
        reason = f"FRACTURE_HOST={settings.host!r} would open the page to other machines."
        raise ConfigurationError.of([reason, *problems])


def address(settings: Settings) -> str:
    """Return where a browser finds the page."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}/"


def _stop(_signal: int, _frame: object) -> None:
    sys.exit(0)
