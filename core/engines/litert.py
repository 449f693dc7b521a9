"""The default engine on a CPU: LiteRT (TensorFlow Lite) with XNNPACK, one thread.

One image at a time: on a CPU a batch brings nothing by itself, and a fixed shape lets XNNPACK plan its memory once.
One thread per process and one process per core is fastest (docs/decisions.md).
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from core.bundle import Bundle
from core.engines.outputs import Outputs, find_outputs
from core.engines.quiet import held_back_standard_error
from core.errors import ModelMismatch


class LiteRTClassifier:
    """Runs `model.tflite`."""

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        path = bundle.file("model.tflite")
        self.card = bundle.card
        self.engine = f"litert {version('ai-edge-litert')}"
        try:
            with held_back_standard_error():
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelMismatch(f"{path} is no usable LiteRT model: {error}.") from error
        (self._input,) = self._interpreter.get_input_details()
        expected = [1, self.card.side, self.card.side, self.card.channels]
        if self._input["shape"].tolist() != expected:
            raise ModelMismatch(f"{path} takes {self._input['shape'].tolist()}, the card says {expected}.")
        outputs = self._interpreter.get_output_details()
        places = find_outputs([output["shape"].tolist() for output in outputs], self.card, path)
        self._probabilities, self._outlier, self._activations = (
            None if at is None else outputs[at]["index"]
            for at in (places.probabilities, places.outlier_scores, places.activations)
        )

    def run(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the network; see `Classifier.run`."""
        classes = len(self.card.labels)
        rows = np.empty((len(batch), classes), dtype=np.float32)
        strangeness = None if self._outlier is None else np.empty(len(batch), dtype=np.float32)
        shape = self.card.activation_shape
        maps = None if shape is None else np.empty((len(batch), *shape, classes), dtype=np.float32)
        for index, image in enumerate(batch):
            self._interpreter.set_tensor(self._input["index"], image[np.newaxis].astype(self._input["dtype"]))
            self._interpreter.invoke()
            rows[index] = self._interpreter.get_tensor(self._probabilities)[0]
            if strangeness is not None:
                strangeness[index] = self._interpreter.get_tensor(self._outlier)[0, 0]
            if maps is not None:
                maps[index] = self._interpreter.get_tensor(self._activations)[0]
        return Outputs(rows, strangeness, maps)
