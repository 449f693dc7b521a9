"""One labelled radiograph of a data set."""

from __future__ import annotations

from dataclasses import dataclass
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
