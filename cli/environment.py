"""What most commands begin with."""

from __future__ import annotations

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
