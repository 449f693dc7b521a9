"""Cluster-wise folds of train and valid, and the predictions of networks for images that they have not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from core.errors import ConfigurationError
from training.metrics import Floats, Indices

#: Fixes which cluster lies in which fold, so that runs of different recipes can be compared image by image.
FOLD_SEED = 0


@dataclass(frozen=True)
class OutOfFold:
    """One prediction for each image of train and valid, by the network whose training left its fold out."""

    sha256: tuple[str, ...]  # (N,) of the image files
    clusters: tuple[str, ...]  # (N,)
    folds: Indices  # (N,) the fold that the image lies in, from 0
    targets: Indices  # (N,) index into the labels
    probabilities: Floats  # (N, classes) uncalibrated, rows sum to 1
    mirrored: Floats | None = None  # the same of the mirror images; None: nobody asked

    def save(self, path: Path) -> None:
        """Write it as a NumPy archive."""
        np.savez(
            path,
            sha256=np.array(self.sha256),
            clusters=np.array(self.clusters),
            folds=self.folds,
            targets=self.targets,
            probabilities=self.probabilities,
            mirrored=np.empty(0) if self.mirrored is None else self.mirrored,
        )

    @classmethod
    def load(cls, path: Path) -> OutOfFold:
        """Read what `save` wrote.

        Raises:
            ConfigurationError: The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                mirrored = file.get("mirrored", np.empty(0))
                return cls(
                    sha256=tuple(file["sha256"].tolist()),
                    clusters=tuple(file["clusters"].tolist()),
                    folds=file["folds"],
                    targets=file["targets"],
                    probabilities=file["probabilities"],
                    mirrored=mirrored if mirrored.size else None,
                )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigurationError(f"The out-of-fold predictions {path} cannot be read: {error}.") from error


def fold_of_each(targets: Indices, clusters: Sequence[str], folds: int) -> Indices:
    """Deal images into folds: a cluster is never split, and every fold has about the same share of each class.

    Args:
        targets: (N,) class indices.
        clusters: (N,) sources.
        folds: How many.

    Returns:
        (N,) the fold of each image, from 0.

    Raises:
        ConfigurationError: There are fewer clusters than folds.
    """
    if len(set(clusters)) < folds:
        raise ConfigurationError(f"The data have {len(set(clusters))} sources, too few for {folds} folds.")
    dealt = np.zeros(len(targets), dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=FOLD_SEED)
    for fold, (_, held_out) in enumerate(splitter.split(targets, targets, np.asarray(clusters))):
        dealt[held_out] = fold
    return dealt


def each_fold(folds: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield, for each fold, the indices to train on and those held out."""
    for fold in range(int(folds.max()) + 1):
        yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
