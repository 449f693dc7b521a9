"""Who may send DICOM: pairs of an AE title and an address. Needs no library, so that settings can hold it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TypeAlias

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_ANY = "*"
#: PS3.5 allows any ASCII but the backslash and control characters; commas would part our list.
_TITLE = re.compile(r"(?! )[ -+\--\[\]-~]{1,16}(?<! )")


def ae_title(text: str) -> str:
    """Read an AE title.

    Raises:
        ValueError: It is none.
    """
    if not _TITLE.fullmatch(text):
        raise ValueError("is no AE title: 1 to 16 letters, digits or signs, no comma and no backslash")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine alone."""
    try:
        return _of(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Peers:
    """Which programs may send. None named: those on this machine, whatever they call themselves, and no other."""

    named: tuple[tuple[str, _Network], ...] = ()  # AE title or `*`, and from where

    @classmethod
    def read(cls, text: str) -> Peers:
        """Read `AETITLE@ADDRESS,...`.

        Raises:
            ValueError: An entry is wrong.
        """
        return cls(tuple(_entry(entry.strip()) for entry in text.split(",") if entry.strip()))

    def __str__(self) -> str:
        return ",".join(f"{title}@{network}" for title, network in self.named)

    def __bool__(self) -> bool:
        return bool(self.named)

    @property
    def loopback_only(self) -> bool:
        """Whether nobody beyond this machine may send."""
        return all(network.is_loopback for _, network in self.named)

    def reach(self, address: str) -> bool:
        """Whether anybody at an address may send."""
        if not self.named:
            return _of(address).is_loopback
        return any(_of(address) in place for _, place in self.named)

    def allow(self, title: str, address: str) -> bool:
        """Whether who calls itself so may send from there."""
        if not self.named:
            return self.reach(address)
        return any(named in (_ANY, title) and _of(address) in place for named, place in self.named)

    def names(self, title: str) -> bool:
        """Whether a title was written down here; any other may be a patient's name."""
        return any(title == named != _ANY for named, _ in self.named)


def _entry(entry: str) -> tuple[str, _Network]:
    title, found, address = entry.rpartition("@")
    if not found:
        raise ValueError(f"has an entry without an @ ({entry!r}); write AETITLE@ADDRESS")
    try:
        network = ipaddress.ip_network(address.strip(), strict=False)
    except ValueError:
        raise ValueError(f"has an entry whose address is none ({address!r}); write 10.1.2.3 or 10.1.0.0/16") from None
    return title if title == _ANY else ae_title(title), network


def _of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(address.partition("%")[0])
    # How a socket for both families names an IPv4 address.
    return getattr(found, "ipv4_mapped", None) or found
