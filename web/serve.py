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
from core.schema import check_schema
from core.settings import Settings
from web.app import create_app
from web.limits import most_body_bytes
from web.security import is_loopback

log = logging.getLogger(__name__)

#: Our choice: a browser opens six connections; what they wait for is mostly the database and the disk.
_THREADS = 8
#: A connection that says nothing for this long is closed; a slow upload says something all the time.
_CHANNEL_SECONDS = 120
#: Waitress itself cuts off only what is far too large, so that everything nearer gets our own sentence.
_CUT_OFF_FACTOR = 2


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: The address is in use or not allowed, or the database's tables do not fit.
        DatabaseUnavailable: The database cannot be reached.
    """
    refuse_open_door(settings)
    database = Database(settings.database_url)
    try:
        check_schema(database)
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
    try:
        return create_server(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            threads=_THREADS,
            channel_timeout=_CHANNEL_SECONDS,
            max_request_body_size=_CUT_OFF_FACTOR * most_body_bytes(settings),
            ident=None,
            clear_untrusted_proxy_headers=True,
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


def refuse_open_door(settings: Settings) -> None:
    """Refuse to listen beyond this machine without a key that somebody chose on purpose.

    Raises:
        ConfigurationError: The host is no loopback address and there is no `FRACTURE_SECRET_KEY`.
    """
    if not is_loopback(settings.host) and not settings.secret_key:
        raise ConfigurationError(
            f"FRACTURE_HOST={settings.host!r} would open the page, which has no sign-in, to other machines; "
            "set FRACTURE_SECRET_KEY as well if that is meant."
        )


def address(settings: Settings) -> str:
    """Return where a browser finds the page."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}/"


def _stop(_signal: int, _frame: object) -> None:
    sys.exit(0)
