"""The key that signs browser sessions: from the settings, or made at the first start and kept in the home folder."""

from __future__ import annotations

from core.secret_file import kept_key
from core.settings import Settings

FILE_NAME = "secret_key"


def secret_key(settings: Settings) -> str:
    """Return the key of this installation.

    Raises:
        ConfigurationError: It can be neither read nor made.
    """
    if settings.secret_key:
        return settings.secret_key
    return kept_key(settings.home / FILE_NAME, what="secret key", variable="FRACTURE_SECRET_KEY")
