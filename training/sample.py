"""One labelled radiograph of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Sample:
    """One labelled image file."""

    path: Path
    label: str  # one of the task's labels
    split: str  # one of SPLITS
    cluster: str  # images of one source share it; a bootstrap draws whole clusters
    sha256: str  # of the file
    facts: Mapping[str, str] = field(default_factory=dict)  # the manifest's other columns, a body region for one
