"""Whether one comes in without signing in: the page listens on this machine alone, and there is no user yet."""

from __future__ import annotations

import ipaddress
import time

from core.database import Database
from core.records.users import any_user
from core.settings import Settings

#: The first user shuts the door within this time, in every process that serves.
_LOOK_SECONDS = 1.0


class Door:
    """Open to everybody on this machine until there is a user; then shut for good, since users are never deleted."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self.is_open = is_loopback(settings.host)  # as last seen
        self._seen_at: float | None = None

    def look(self) -> bool:
        """Look again whether there is a user, if the last look is not quite recent; return whether the door is open.

        Raises:
            DatabaseUnavailable: Nobody knows.
        """
        if self.is_open and (self._seen_at is None or time.monotonic() > self._seen_at + _LOOK_SECONDS):
            with self._database.reading() as session:
                self.is_open = not any_user(session)
            self._seen_at = time.monotonic()
        return self.is_open


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
