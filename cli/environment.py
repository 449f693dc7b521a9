"""What most commands begin with."""

from __future__ import annotations

import getpass
import os

from core.database import Database
from core.home import open_installation
from core.settings import Settings


def settings_here() -> Settings:
    """Read the settings from this process's environment.

    Raises:
        ConfigurationError: Names every variable that is wrong.
    """
    return Settings.from_env(os.environ)


def installation_here() -> tuple[Settings, Database]:
    """Open the installation that the environment names.

    Raises:
        ConfigurationError: There is none, or its tables are of another revision.
    """
    settings = settings_here()
    return settings, open_installation(settings)


def actor_here() -> str:
    """Return who runs this command, for the audit trail."""
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):  # in a container the number may belong to nobody
        return f"command:{os.getuid()}"
