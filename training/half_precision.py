"""Weights that half precision holds exactly: a bundle half as large, whose two files still give the same answers.

LiteRT can keep weights in 16 bits and compute in 32. Left to its converter that changes labels, for it first multiplies
each batch normalisation into the layer before it and rounds what comes out: probabilities of `fracture-types` 3.0.0
moved by up to 5e-3, those of `fracture` 1.1.0 by 2e-2. Here the Keras network is brought into a form in which nothing
is left to multiply, and is rounded then; the two files differ by 2e-4. What is calibrated, judged and served is the
rounded network, in either file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]
_LARGEST = float(np.finfo(np.float16).max)


def hold_in_half(model: Any) -> None:
    """Multiply normalisations into the layers before them and round every weight, in place.

    What the network answers moves by as much as its weights are rounded, about 5e-4 of each.
    """
    for norm in _normalisations(model):
        _settle(norm)
    round_weights(model)


def round_weights(model: Any) -> None:
    """Round the weights to what 16 bits hold; an array with a number beyond their range (65,504) stays as it is."""
    for variable in model.weights:
        value = np.asarray(variable.value)
        if value.dtype == np.float32 and np.abs(value).max(initial=0.0) <= _LARGEST:
            variable.assign(value.astype(np.float16).astype(np.float32))


def save_small(model: Any, path: Path) -> None:
    """Save a rounded network as a `.keras` file, compressed: half of the digits that such a file has room for are 0.

    It is a ZIP archive, which Keras reads compressed too and writes as it is.
    """
    model.save(path)
    plain = path.with_suffix(".plain")
    path.rename(plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as small:
        for member in whole.infolist():
            small.writestr(member.filename, whole.read(member))
    plain.unlink()


def _normalisations(model: Any) -> Iterator[Any]:
    """Yield each batch normalisation once, those of networks within the network too."""
    import keras

    seen: set[int] = set()
    for layer in _all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization) and id(layer) not in seen:
            seen.add(id(layer))
            yield layer


def _all_layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)


def _settle(norm: Any) -> None:
    """Make the normalisation an addition where a layer before it can take its factor; else a factor and an addition."""
    if not (norm.scale and norm.center):
        return  # it has no place of its own for either
    scale, offset = factors(norm)
    before = _layer_before(norm)
    if before is not None:
        kernel, *bias = before.get_weights()
        if bias:
            offset = offset + bias[0] * scale
            bias = [np.zeros_like(bias[0])]
        # A depthwise kernel is (height, width, channels, multiplier); its outputs are counted over the last two.
        before.set_weights([kernel * scale.reshape(kernel.shape[2:] if _is_depthwise(before) else -1), *bias])
        scale = np.ones_like(scale)
    # The variance is what makes the root 1 when epsilon is added.
    norm.set_weights([scale, offset, np.zeros_like(scale), np.full_like(scale, 1 - norm.epsilon)])


def factors(norm: Any) -> tuple[Floats32, Floats32]:
    """Return what a batch normalisation multiplies by and then adds, (channels,) each."""
    *beginning, mean, variance = norm.get_weights()
    gamma = beginning.pop(0) if norm.scale else np.ones_like(mean)
    beta = beginning.pop(0) if norm.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale


def _layer_before(norm: Any) -> Any | None:
    """Return the layer that feeds this normalisation alone, if it has a kernel and no activation of its own.

    A layer may be called several times (an ensemble asks of mirror images too): every call has to lead here.
    """
    from keras import activations, layers

    # Keras tells by which calls layers are joined in no other way.
    before = {id(node.parent_nodes[0].operation): node.parent_nodes[0].operation for node in norm._inbound_nodes}
    (layer, *others) = before.values()
    if others or not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return None
    leads_here = all(node.operation is norm for node in layer._outbound_nodes)
    return layer if leads_here and layer.activation is activations.linear else None


def _is_depthwise(layer: Any) -> bool:
    from keras import layers

    return isinstance(layer, layers.DepthwiseConv2D)
