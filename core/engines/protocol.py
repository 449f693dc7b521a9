"""What every engine does: load a bundle, run a batch through its network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.bundle import Bundle, ModelCard
from core.engines.outputs import Outputs
from core.errors import ConfigurationError


class Classifier(Protocol):
    """A loaded network."""

    card: ModelCard
    engine: str  # with its version, as stored with each prediction: "litert 2.3.0"

    def run(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the network.

        Args:
            batch: (N, side, side, channels) uint8, each from `preprocessing.read_model_input`.

        Returns:
            The probabilities of N images, in the order of `card.labels`, and their outlier scores if the card has
            a threshold for them.
        """
        ...


def load_classifier(bundle: Bundle, engine: str) -> Classifier:
    """Load a bundle's network with the engine named in the settings; nothing is loaded before this call.

    Raises:
        ConfigurationError: The engine is unknown or not installed.
        ModelMismatch: The bundle's files differ from its card.
    """
    try:
        if engine == "litert":
            from core.engines.litert import LiteRTClassifier

            return LiteRTClassifier(bundle)
        if engine == "keras":
            from core.engines.keras import KerasClassifier

            return KerasClassifier(bundle)
    except ImportError as error:
        raise ConfigurationError(f"The engine {engine!r} is not installed here: {error}.") from error
    raise ConfigurationError(f"There is no engine {engine!r}.")
