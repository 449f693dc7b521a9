"""Names, passwords and tokens: what they must be, and the form in which they are kept.

A password is kept as argon2id (the library's defaults, which follow RFC 9106), a token as its sha256: it is 256 random
bits, which nobody guesses however fast the hash is.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import AccountRefused

#: Length counts more than odd characters (NIST SP 800-63B); the upper bound only bounds the work.
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024
TOKEN_PREFIX = "fq_"  # noqa: S105 - lets people and scanners for leaked secrets recognise one
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"\w[\w.@-]{0,63}")
_HASHER = PasswordHasher()
#: Each takes 64 MiB and all cores; more at once would only serve who wants this machine to be slow.
_AT_ONCE = threading.BoundedSemaphore(2)


def account_name(text: str) -> str:
    """Return the form in which a name is stored and looked for: without upper case, which people do not hear.

    Raises:
        AccountRefused: It is no name.
    """
    name = unicodedata.normalize("NFKC", text).strip().lower()
    if not _NAME.fullmatch(name):
        raise AccountRefused("A name has 1 to 64 letters, digits, and . _ @ - after the first of them.")
    return name


def hash_password(password: str) -> str:
    """Return what is stored of a password.

    Raises:
        AccountRefused: It is too short or too long.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccountRefused(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; this one has {len(password)}."
        )
    with _AT_ONCE:
        return _HASHER.hash(_bytes(password))


def password_fits(stored: str | None, password: str) -> bool:
    """Whether a password is the one whose hash is stored; None: nobody's, which takes as long to find out."""
    try:
        with _AT_ONCE:
            return _HASHER.verify(stored or _nobodys(), _bytes(password[: LONGEST_PASSWORD + 1])) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether today's parameters differ from those of a stored hash."""
    return _HASHER.check_needs_rehash(stored)


def new_token() -> str:
    """Return a new key to the API."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str | None:
    """Return what is stored of a token; None for what cannot be one."""
    return hashlib.sha256(token.encode("ascii")).hexdigest() if _TOKEN.fullmatch(token) else None


def _bytes(password: str) -> bytes:
    # One key gives one character on one keyboard and two on another; both mean the same.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _nobodys() -> str:
    """Return a hash with today's parameters that no password fits."""
    sizes = (_HASHER.salt_len, _HASHER.hash_len)
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in sizes)
    costs = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
