"""A coarse map of what in a picture speaks for each class, as a further output of the network.

Where a network ends with an average over its last feature map and one layer on that, the layer can as well look at each
place of the map: the average of what it finds there is the class's logit. So the map is exact, though as coarse as the
feature map, and says where the network looked, not where a fracture is. The same holds for a root mean square, which is
the average of the squares divided by itself, and for several maps of which the finer are averaged to the places of the
coarsest. Networks that end otherwise get none.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from training.heads import DROPOUT, FIRST_PROBABILITY, POOL, POOL_NORM, POOL_SQUARED, PROBABILITIES, SQUARED

METHOD = "class activation map of the last feature map, relative to the mean of the classes"
#: Stands in for a root mean square of 0, where there is nothing to share among places.
_LEAST = 1e-6


def with_activation_map(model: Any) -> Any | None:
    """Return the network with one more output, (N, height, width, classes), or None where its end allows none.

    Over all places the map's mean is the logit of the class, less the last layer's bias, relative to the mean of the
    classes: above 0 a place speaks for the class, below against it.

    Args:
        model: Answers (N, classes) probabilities; see `heads.pooled_head` and `heads.linear_head`.
    """
    import keras

    if model.layers[-1].name != PROBABILITIES:
        return None  # an average of several networks has no single last map
    layers = {layer.name: layer for layer in model.layers}
    answer = next((layers[name] for name in (PROBABILITIES, FIRST_PROBABILITY) if _learnt(layers.get(name))), None)
    norm = layers.get(POOL_NORM)
    if answer is None or norm is None:
        return None
    before = answer.input if DROPOUT not in layers else layers[DROPOUT].input
    places = _places(layers, norm) if before is norm.output else None
    if places is None:
        return None
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
    activation = look(places)
    look.set_weights([kernel[np.newaxis, np.newaxis], offset])
    return keras.Model(model.input, [model.outputs[0], activation], name=model.name)


def _learnt(layer: Any) -> bool:
    return hasattr(layer, "kernel")


def _places(layers: dict[str, Any], norm: Any) -> Any | None:
    """Return (N, height, width, features) whose average over all places is what `norm` takes; None if there is none."""
    if POOL in layers:
        return layers[POOL].input if layers[POOL].output is norm.input else None
    numbers = sorted(int(name.removeprefix(SQUARED)) for name in layers if name.startswith(SQUARED))
    squares = [layers[f"{SQUARED}{number}"] for number in numbers]
    if not squares or not all(f"{POOL_SQUARED}{number}" in layers for number in numbers):
        return None
    return _places_of_squares([layer.output for layer in squares])


def _places_of_squares(squares: list[Any]) -> Any | None:
    """Share each feature's root mean square among the coarsest map's places; None if the maps' sizes do not divide."""
    from keras import layers, ops

    height, width = squares[-1].shape[1:3]
    found = []
    for squared in squares:
        factors = (squared.shape[1] // height, squared.shape[2] // width)
        if (factors[0] * height, factors[1] * width) != tuple(squared.shape[1:3]):
            return None
        coarse = squared if factors == (1, 1) else layers.AveragePooling2D(factors)(squared)
        root = ops.sqrt(ops.mean(squared, axis=(1, 2), keepdims=True))
        found.append(coarse / ops.maximum(root, _LEAST))
    return layers.Concatenate()(found) if len(found) > 1 else found[0]
