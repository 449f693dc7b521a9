"""The key that signs browser sessions: from the settings, or made at the first start and kept in the home folder."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from core.errors import ConfigurationError
from core.settings import Settings

FILE_NAME = "secret_key"


def secret_key(settings: Settings) -> str:
    """Return the key of this installation.

    Raises:
        ConfigurationError: It can be neither read nor made.
    """
    if settings.secret_key:
        return settings.secret_key
    file = settings.home / FILE_NAME
    try:
        if not file.exists():
            _make(file)
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"The secret key {file} can be neither read nor made: {reason}. FRACTURE_SECRET_KEY can name one instead."
        ) from error
    if not key:
        raise ConfigurationError(f"The secret key {file} is empty; remove it, and the next start makes a new one.")
    return key


def _make(file: Path) -> None:
    """Write a new key whole, or leave the one that another process made at the same moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
            stream.flush()
            os.fsync(stream.fileno())
        # Unlike a rename, a link never replaces: whoever comes second uses the key of the first.
        with suppress(FileExistsError):
            file.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
