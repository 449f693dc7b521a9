"""The reference engine: the trained Keras model itself, on TensorFlow. For GPUs, and what others are held to."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Bundle
from core.engines.outputs import Outputs, find_outputs
from core.engines.quiet import held_back_standard_error
from core.errors import ModelMismatch


class KerasClassifier:
    """Runs `model.keras`, loaded in safe mode."""

    def __init__(self, bundle: Bundle) -> None:
        path = bundle.file("model.keras")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with held_back_standard_error():  # TensorFlow says this and that before it reads its log level
            import keras
            import tensorflow as tf

            tf.config.list_physical_devices()

        self.card = bundle.card
        self.engine = f"keras {keras.__version__}"
        try:
            model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError) as error:
            raise ModelMismatch(f"{path} is no usable Keras model: {error}.") from error
        expected = (None, self.card.side, self.card.side, self.card.channels)
        if tuple(model.input_shape) != expected:
            raise ModelMismatch(f"{path} takes {tuple(model.input_shape)}, the card says {expected}.")
        self._places = find_outputs([output.shape for output in model.outputs], self.card, path)
        # A traced function is about twice as fast as `predict` for small batches (docs/decisions.md). Its signature
        # leaves the batch open: otherwise each new size, the last batch of a drop for one, is traced anew. Without
        # autograph, of which built-in layers need nothing, no pool process leaves source code in the temporary folder.
        entry = tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)
        self._call = tf.function(
            lambda batch: tf.nest.flatten(model(batch, training=False)), input_signature=[entry], autograph=False
        )

    def run(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the network; see `Classifier.run`."""
        found = [np.asarray(output, dtype=np.float32) for output in self._call(batch)]
        places = self._places
        return Outputs(
            found[places.probabilities],
            None if places.outlier_scores is None else found[places.outlier_scores][:, 0],
            None if places.activations is None else found[places.activations],
        )
