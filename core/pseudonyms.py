"""Keyed hashes that stand for patients, for DICOM's numbers of things, and for the names of DICOM files.

Keyed, because whoever has a list of names or numbers could otherwise hash them all and compare. The key belongs to the
installation: with it, the same patient always gets the same hash; without it, nobody gets from one to the other.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from pathlib import PurePosixPath

from core.dicom.signs import SUFFIXES
from core.secret_file import kept_key
from core.settings import Settings

FILE_NAME = "pseudonym_key"
_BYTES = 16
_NAME_DIGITS = 16
#: Leaves room for the numbers of an archive's files in an arrival's claim.
_FILE_DIGITS = 24


class Pseudonyms:
    """Makes hashes with one key; the kinds keep apart what happens to be written alike."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    @classmethod
    def of(cls, settings: Settings) -> Pseudonyms:
        """Use the key of this installation.

        Raises:
            ConfigurationError: It can be neither read nor made.
        """
        file = settings.home / FILE_NAME
        return cls(
            settings.pseudonym_key or kept_key(file, what="key of pseudonyms", variable="FRACTURE_PSEUDONYM_KEY")
        )

    def patient(self, identity: str) -> str:
        """Return the grouping key of a patient: 32 hexadecimal digits."""
        return self._digest("patient", identity).hex()

    def uid(self, uid: str) -> str:
        """Return the number that stands for one of DICOM's, of the form of a UUID (PS3.5 B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid), 'big')}"

    def file_name(self, name: str) -> str:
        """Return what stands for the name of a DICOM file; the same name gives the same."""
        suffix = PurePosixPath(name).suffix.lower()
        digits = self._digest("name", unicodedata.normalize("NFC", name)).hex()[:_NAME_DIGITS]
        return f"dicom-{digits}{suffix if suffix in SUFFIXES else ''}"

    def folder(self, name: str) -> str:
        """Return what stands for a folder's name: 32 hexadecimal digits."""
        return self._digest("folder", unicodedata.normalize("NFC", name)).hex()

    def file_in_place(self, path: str, size: int, modified_ns: int) -> str:
        """Return what stands for a file of a read-only inbox as it is now: 24 hexadecimal digits."""
        return self._digest("file", f"{path}\0{size}\0{modified_ns}").hex()[:_FILE_DIGITS]

    def _digest(self, kind: str, value: str) -> bytes:
        message = f"{kind}\0{value}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_BYTES]
