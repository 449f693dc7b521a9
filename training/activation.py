"""A coarse map of what in a picture speaks for each class, as a further output of the network.

Where a network ends with an average over its last feature map and one layer on that, the layer can as well look at each
place of the map: the average of what it finds there is the class's logit. So the map is exact, though as coarse as the
feature map, and says where the network looked, not where a fracture is. Networks that end otherwise get none.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: The ends that `heads.pooled_head` builds: what may stand between the average and the answer, and the answer's layer.
METHOD = "class activation map of the last feature map, relative to the mean of the classes"
_POOL, _NORM = "pool", "pool_norm"
_ANSWERS = ("probabilities", "probability_of_first")


def with_activation_map(model: Any) -> Any | None:
    """Return the network with one more output, (N, height, width, classes), or None where its end allows none.

    Over all places the map's mean is the logit of the class, less the last layer's bias, relative to the mean of the
    classes: above 0 a place speaks for the class, below against it.

    Args:
        model: Answers (N, classes) probabilities; see `heads.pooled_head`.
    """
    import keras

    ends = _ends(model)
    if ends is None:
        return None
    pool, norm, answer = ends
    gamma, beta, mean, variance = norm.get_weights()
    weights, _bias = answer.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel = weights * scale[:, np.newaxis]
    offset = (beta - mean * scale) @ weights
    if kernel.shape[1] == 1:  # a sigmoid: the second class is the first one's contrary
        kernel, offset = np.hstack([kernel, -kernel]), np.hstack([offset, -offset])
    else:  # what speaks for every class alike speaks for none
        kernel, offset = kernel - kernel.mean(axis=1, keepdims=True), offset - offset.mean()
    look = keras.layers.Conv2D(kernel.shape[1], 1, trainable=False, dtype="float32", name="activation_map")
    activation = look(pool.input)
    look.set_weights([kernel[np.newaxis, np.newaxis], offset])
    return keras.Model(model.input, [model.outputs[0], activation], name=model.name)


def _ends(model: Any) -> tuple[Any, Any, Any] | None:
    """Return average, normalisation and last layer, if nothing but dropout lies between them."""
    layers = {layer.name: layer for layer in model.layers}
    answer = next((layers[name] for name in _ANSWERS if hasattr(layers.get(name), "kernel")), None)
    norm, pool = layers.get(_NORM), layers.get(_POOL)
    if answer is None or norm is None or pool is None:
        return None
    before = answer.input if "dropout" not in layers else layers["dropout"].input
    straight = before is norm.output and norm.input is pool.output
    return (pool, norm, answer) if straight else None
