"""Data sets: which radiograph has which class and belongs to which split.

`layouts.py` reads them, `splitting.py` takes a share for validation where the data set has none, `leakage.py` holds the
splits apart. A manifest wins over folders: bone-break's own Train and Test folders share radiographs, its manifest's
column `split` does not.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from training.layouts import MANIFEST, UNDEALT, read_samples
from training.leakage import refuse_leakage
from training.sample import SPLITS, Sample
from training.splitting import deal, group_copies

#: Largest picture that is decoded to look for copies; the default of FRACTURE_MAX_PIXELS.
MAX_PIXELS = 64_000_000
#: What is validated on where a data set has one folder per class and nothing is said.
DEALT_SHARE = 0.2


@dataclass(frozen=True)
class DataChoices:
    """How a data set is to be read; `run.json` keeps it, so that `publish` reads the same."""

    layout: str = "auto"  # one of layouts.LAYOUTS
    split_column: str = "split"  # of the manifest
    valid_share: float | None = None  # of each class, 0 to 1; None: DEALT_SHARE where there are no splits, else none
    test_share: float = 0.0  # of each class, where there are no splits at all
    allow_leakage: bool = False  # copies may lie in two splits; images are then dealt one by one

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DataChoices:
        """Read what `document` wrote; what is missing is as by default."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Dataset:
    """The samples of all splits."""

    folder: Path
    samples: tuple[Sample, ...]
    choices: DataChoices = field(default_factory=DataChoices)
    dealt: str = ""  # a sentence on what this program dealt out itself; empty: the splits are the data set's own
    leakage: Mapping[str, int] = field(default_factory=dict)  # `leakage.count_leaks`; empty: none, or not looked for

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return one split's samples.

        Raises:
            ConfigurationError: The data set has no such split.
        """
        found = tuple(sample for sample in self.samples if sample.split == name)
        if not found:
            raise ConfigurationError(
                f"The data in {self.folder} have no split {name!r}; they have {', '.join(self.counts()) or 'none'}."
            )
        return found

    def counts(self) -> dict[str, int]:
        """Return the number of images of each split that is there."""
        counted = Counter(sample.split for sample in self.samples)
        return {name: counted[name] for name in SPLITS if counted[name]}

    def hashes(self) -> dict[str, str]:
        """Return `data_hash` of all samples and of each split."""
        parts = {name: data_hash(self.split(name)) for name in self.counts()}
        return {"all": data_hash(self.samples)} | parts

    def description(self) -> dict[str, Any]:
        """Return what `run.json` and a card hold of the data: counts, hashes and, if there are any, leaks."""
        dealt = {"dealt": self.dealt} if self.dealt else {}
        leakage = {"leakage": dict(self.leakage)} if self.leakage else {}
        return {"counts": self.counts(), "sha256": self.hashes(), **dealt, **leakage}


def data_hash(samples: Iterable[Sample]) -> str:
    """Identify labelled images by their content.

    Returns:
        The sha256 of the sorted lines `sha256 label`: the same for the same images with the same labels, wherever
        they lie and whatever they are called.
    """
    lines = sorted(f"{sample.sha256} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_dataset(
    source: Path, labels: tuple[str, ...], choices: DataChoices | None = None, *, max_pixels: int = MAX_PIXELS
) -> Dataset:
    """Read a data set and refuse files or sources that lie in two splits, unless that is allowed.

    Copies that are not the same file are looked for by `train` alone: it decodes every image anyway.

    Raises:
        ConfigurationError: As `load_dataset`, or the same image or source is in two splits.
    """
    dataset = load_dataset(source, labels, choices, max_pixels=max_pixels)
    if not dataset.choices.allow_leakage:
        refuse_leakage(dataset.samples)
    return dataset


def load_dataset(
    source: Path, labels: tuple[str, ...], choices: DataChoices | None = None, *, max_pixels: int = MAX_PIXELS
) -> Dataset:
    """Read a data set. Every file is hashed; images are decoded only where splits are dealt out.

    Args:
        source: A folder in one of the layouts, or a manifest file.
        labels: The labels of the task; other class names are an error.
        choices: How to read it; None: the defaults.
        max_pixels: Largest picture that is decoded.

    Raises:
        ConfigurationError: The folder or a file is missing, a class or split is unknown, or a file differs from its
            manifest.
    """
    chosen = choices or DataChoices()
    samples = read_samples(source, labels, layout=chosen.layout, split_column=chosen.split_column)
    if not samples:
        raise ConfigurationError(
            f"{source} holds no data set; expected {MANIFEST}, folders train/CLASS/ and valid/CLASS/, "
            "or folders CLASS/."
        )
    samples, dealt = _deal(samples, chosen, max_pixels)
    folder = source if source.is_dir() else source.parent
    return Dataset(folder=folder.absolute(), samples=tuple(samples), choices=chosen, dealt=dealt)


def _deal(samples: list[Sample], choices: DataChoices, max_pixels: int) -> tuple[list[Sample], str]:
    """Deal out what has no split, or take the validation share from train; return the samples and a sentence."""
    if samples[0].split == UNDEALT:
        valid_share = DEALT_SHARE if choices.valid_share is None else choices.valid_share
        shares, taken = {"test": choices.test_share, "valid": valid_share}, UNDEALT
    elif choices.test_share:
        raise ConfigurationError("The data set has splits of its own; a test share is for one folder per class.")
    elif choices.valid_share is None:
        return samples, ""
    elif any(sample.split == "valid" for sample in samples):
        raise ConfigurationError("The data set has a validation split of its own; leave out the validation share.")
    else:
        shares, taken = {"valid": choices.valid_share}, "train"
    chosen = [sample for sample in samples if sample.split == taken]
    if choices.allow_leakage:
        groups, how = list(range(len(chosen))), "one by one, copies or not"
    else:
        groups, how = group_copies(chosen, max_pixels=max_pixels), "copies of one picture kept together"
    shares = {split: share for split, share in shares.items() if share}
    parts = " and ".join(f"{share:.0%} of each class as {split}" for split, share in shares.items())
    others = [sample for sample in samples if sample.split != taken]
    return [*others, *deal(chosen, shares, groups)], f"Dealt out by hash: {parts or 'all as train'}, {how}."
