"""A key that an installation makes at its first start and keeps in a file of its own, for its user alone."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from core.errors import ConfigurationError


def kept_key(file: Path, *, what: str, variable: str) -> str:
    """Return the key in a file, which is made where it is missing.

    Args:
        file: Where it is kept, with mode 0600.
        what: What it is called in sentences.
        variable: The setting that can name a key instead.

    Raises:
        ConfigurationError: It can be neither read nor made.
    """
    try:
        if not file.exists():
            _make(file)
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"The {what} {file} can be neither read nor made: {reason}. {variable} can name one instead."
        ) from error
    if not key:
        raise ConfigurationError(f"The {what} {file} is empty; remove it, and the next start makes a new one.")
    return key


def _make(file: Path) -> None:
    """Write a new key whole, or leave the one that another process made at the same moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
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
