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
from numpy.typing import NDArray

from training.half_precision import factors
from training.heads import DROPOUT, FIRST_PROBABILITY, POOL, POOL_NORM, POOL_SQUARED, PROBABILITIES, SQUARED

Floats32 = NDArray[np.float32]

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
    if before is not norm.output:
        return None
    scale, shift = factors(norm)
    weights, _bias = answer.get_weights()
    kernel, offset = weights * scale[:, np.newaxis], shift @ weights
    if kernel.shape[1] == 1:  # a sigmoid: the second class is the first one's contrary
        kernel, offset = np.hstack([kernel, -kernel]), np.hstack([offset, -offset])
    else:  # what speaks for every class alike speaks for none
        kernel, offset = kernel - kernel.mean(axis=1, keepdims=True), offset - offset.mean()
    make = _map_of_averages if POOL in layers else _map_of_squares
    activation = make(layers, kernel, offset)
    return None if activation is None else keras.Model(model.input, [model.outputs[0], activation], name=model.name)


def _learnt(layer: Any) -> bool:
    return hasattr(layer, "kernel")


def _map_of_averages(layers: dict[str, Any], kernel: Floats32, offset: Floats32) -> Any | None:
    """Ask each place of the one map whose average is normalised; None if something else is."""
    from keras.layers import Conv2D

    if layers[POOL].output is not layers[POOL_NORM].input:
        return None
    look = Conv2D(kernel.shape[1], 1, trainable=False, dtype="float32", name="activation_map")
    activation = look(layers[POOL].input)
    look.set_weights([kernel[np.newaxis, np.newaxis], offset])
    return activation


def _map_of_squares(layers: dict[str, Any], kernel: Floats32, offset: Floats32) -> Any | None:
    """Share each feature's root mean square among the coarsest map's places; None if the maps' sizes do not divide.

    A place's share is its square divided by the root. Dividing the kernel instead, which has as many columns as there
    are classes where a map has hundreds of places, makes the same map for a fraction of the time.
    """
    from keras import ops
    from keras.layers import Add, AveragePooling2D, EinsumDense, Rescaling, Reshape

    numbers = sorted(int(name.removeprefix(SQUARED)) for name in layers if name.startswith(SQUARED))
    if not numbers or not all(f"{POOL_SQUARED}{number}" in layers for number in numbers):
        return None
    classes = kernel.shape[1]
    height, width = layers[f"{SQUARED}{numbers[-1]}"].output.shape[1:3]
    found = []
    for number in numbers:
        squared = layers[f"{SQUARED}{number}"].output
        _, own_height, own_width, features = squared.shape
        pooled = (own_height // height, own_width // width)
        if (pooled[0] * height, pooled[1] * width) != (own_height, own_width):
            return None
        root = ops.sqrt(layers[f"{POOL_SQUARED}{number}"].output)
        divide = EinsumDense("nf,fc->nfc", (features, classes), trainable=False, dtype="float32")
        divided = divide(1 / ops.maximum(root, _LEAST))
        divide.set_weights([kernel[:features]])
        kernel = kernel[features:]
        spoken = ops.matmul(Reshape((own_height * own_width, features))(squared), divided)
        spoken = Reshape((own_height, own_width, classes))(spoken)
        found.append(spoken if pooled == (1, 1) else AveragePooling2D(pooled)(spoken))
    together = Add()(found) if len(found) > 1 else found[0]
    return Rescaling(1.0, offset.tolist(), dtype="float32", name="activation_map")(together)
