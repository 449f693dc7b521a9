"""What a recipe is: everything that decides how a network is built and trained, except data, weights and seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import ConfigurationError
from training.augmentation import Augmentation

#: The monitor of runs that have nothing to judge by: every phase runs to its end and the last network is kept.
LAST_EPOCH = "last epoch"


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with one set of trained layers and one learning-rate schedule."""

    name: str
    epochs: int  # at most; early stopping may end the phase sooner
    learning_rate: float  # at the start; falls along half a cosine wave to a hundredth at the phase's last epoch
    backbone_layers: int | None  # how many layers of the backbone train, from the top: 0 none, None all


@dataclass(frozen=True)
class Solving:
    """For a network whose last layer alone is learnt: it is solved for, instead of trained in epochs."""

    views: int  # of each picture: as it is, mirrored, then changed at random; `--epochs` says how many
    penalty: float  # for a thousand features, the weight of the sum of the layer's squared weights in the loss


@dataclass(frozen=True)
class Recipe:
    """One way to a network. `build(side, classes, weights)` returns an uncompiled Keras model.

    The model takes (N, side, side, 1) uint8 and returns (N, classes) probabilities; built-in layers only, the
    backbone, if it has one, is a layer named `backbone`. `weights` is `imagenet`, `none` or a file.
    """

    name: str
    title: str
    task: str
    side: int  # pixels, unless the user says otherwise
    batch_size: int
    phases: tuple[Phase, ...]
    patience: int  # epochs without a better `monitor` after which a phase ends
    monitor: str  # `valid_loss` (lower is better), `valid_macro_f1` or `valid_roc_auc` (higher is better), LAST_EPOCH
    build: Callable[[int, int, str], Any]
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixup: float = 0.0  # strength with which pictures are blended in pairs; 0 switches it off
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False  # rare classes count more, so that all classes weigh the same in the loss
    solving: Solving | None = None  # then there is one phase of one epoch, and the backbone stays as it is
    pretrained: bool = True  # it has a backbone, whose weights come from outside

    def better(self, value: float, than: float) -> bool:
        """Say whether one value of the monitored figure beats another."""
        return value < than if self.monitor.endswith("loss") else value > than


def first_weights(recipe: Recipe, asked: str) -> str:
    """Return what a recipe's network begins with: what was asked for, or `none` where it has no backbone.

    Raises:
        ConfigurationError: A file was named for a recipe that takes none.
    """
    if recipe.pretrained:
        return asked
    if asked not in ("imagenet", "none"):
        raise ConfigurationError(f"The recipe {recipe.name} has no pretrained part and takes no --weights {asked}.")
    return "none"


def with_choices(recipe: Recipe, *, epochs: int | None, batch_size: int | None, side: int | None) -> Recipe:
    """Return the recipe with the user's choices; None leaves the recipe's own.

    Raises:
        ConfigurationError: There are fewer epochs than phases.
    """
    chosen = replace(recipe, batch_size=batch_size or recipe.batch_size, side=side or recipe.side)
    if epochs is None:
        return chosen
    if recipe.solving is not None:
        return replace(chosen, solving=replace(recipe.solving, views=epochs))
    return replace(chosen, phases=_share_epochs(recipe, epochs))


def _share_epochs(recipe: Recipe, epochs: int) -> tuple[Phase, ...]:
    """Early phases keep their epochs as far as one is left for each later phase; the last takes the rest."""
    if epochs < len(recipe.phases):
        raise ConfigurationError(
            f"--epochs {epochs} is too few: the recipe {recipe.name} has {len(recipe.phases)} phases of at least one."
        )
    phases = []
    left = epochs
    for later, phase in zip(reversed(range(len(recipe.phases))), recipe.phases, strict=True):
        share = min(phase.epochs, left - later) if later else left
        phases.append(replace(phase, epochs=share))
        left -= share
    return tuple(phases)
