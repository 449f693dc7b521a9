"""A score of how unlike the known radiographs a picture is, from the network's own features, inside the network.

The last feature maps of the backbone's three coarsest resolutions are measured. Of the two finer ones: how much each
feature varies over the picture (mean absolute deviation, squashed to 0..1, so that what hardly varies stands out too).
Of the two coarser ones: each feature's mean. The distance of these numbers from those of radiographs is Mahalanobis'
with a low-rank covariance (probabilistic PCA: the first directions, and one variance for all others). The score is the
greatest or the sum of these distances, each relative to what real radiographs reach; which of them count, and how, is
chosen for each network by what notices most made-up pictures (`strangers.py`). The threshold comes from radiographs
alone.

All of it is built-in Keras layers with fixed weights, so that `model.keras` and `model.tflite` carry it and every
engine returns it at no measurable cost.

Source: Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples (Mahalanobis distance at
several depths); Tipping and Bishop 1999, Probabilistic Principal Component Analysis. What was tried, with bone-break
and fracture-binary: the last layer alone misses blank pictures and gradients (0 to 20 % noticed); means alone miss
blanks; deviations unsquashed notice 30 to 50 % of blanks and gradients, squashed nearly all of them, but on
MobileNetV2 only three quarters of the photographs, which the last map's means raise to nine in ten; on ResNet50V2 the
means only blur what deviations tell; 16 to 256 directions differ little. Radiographs of one collection alone make a
poor yardstick: those of fracture-binary are so alike that most of bone-break looks strange. Hence the further
radiographs that `publish` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from training.backbones import BACKBONE
from training.metrics import Floats

#: Feature maps that are looked at, and directions of each covariance. Our choice; see above.
DEPTHS = 3
DIRECTIONS = 16
#: How a feature map becomes one number a feature.
DEVIATION, MEAN = "deviation", "mean"
#: How several distances become one score.
GREATEST, SUM = "greatest", "sum"
#: Share of each collection's radiographs that the threshold lets pass, at least.
PASSING = 0.985
#: Parts into which the sources of a collection are cut to measure each with statistics of the others.
FOLDS = 3
#: Added to the variance along every direction.
_RIDGE = 0.01
#: A map with no more channels is a picture still.
_COLOURS = 3


@dataclass(frozen=True)
class Measure:
    """One way to look at a picture."""

    layer: str  # of the backbone
    kind: str  # DEVIATION or MEAN


@dataclass(frozen=True)
class Distance:
    """Probabilistic PCA of one depth's features, (features,) each unless said otherwise."""

    mean: Floats
    deviation: Floats
    directions: Floats  # (features, directions) of the standardised features, orthonormal
    variances: Floats  # (directions,)
    rest: float  # the variance along every other direction
    half: Floats | None  # where a squashed feature becomes 1/2; None: features are taken as they are
    scale: float = 1.0  # what a distance is divided by

    @classmethod
    def fit(cls, features: Floats, weights: Floats, *, squash: bool) -> Distance:
        """Fit it.

        Args:
            features: (N, features) of radiographs.
            weights: (N,) how much each counts.
            squash: Map each feature x to x / (x + its median).
        """
        half = np.maximum(np.median(features, axis=0), 1e-4) if squash else None
        features = _squashed(features, half)
        mean = np.average(features, axis=0, weights=weights)
        variance = np.average((features - mean) ** 2, axis=0, weights=weights)
        # A feature that never varies would make the slightest change infinitely strange.
        deviation = np.sqrt(variance) + 1e-3 * np.sqrt(variance.mean()) + 1e-8
        # Standardised features have variance 1; the ridge keeps 32-bit arithmetic exact where they say all the same.
        covariance = np.cov(((features - mean) / deviation).T, aweights=weights)
        size = len(covariance)
        kept = min(DIRECTIONS, size - 1)
        variances, directions = eigh(covariance, subset_by_index=[size - kept, size - 1])
        rest = float((np.trace(covariance) - variances.sum()) / (size - kept))
        return cls(mean, deviation, directions, variances + _RIDGE, rest + _RIDGE, half)

    def of(self, features: Floats) -> Floats:
        """Return (N,) distances of (N, features), squared and relative to `scale`."""
        standard = (_squashed(features, self.half) - self.mean) / self.deviation
        along = standard @ self.directions
        squared = (along**2 / self.variances).sum(axis=1)
        squared += ((standard**2).sum(axis=1) - (along**2).sum(axis=1)) / self.rest
        return np.asarray(squared / self.scale, dtype=np.float64)


@dataclass(frozen=True)
class OutlierScore:
    """What is built into a network, and the threshold that belongs on its card."""

    measures: tuple[Measure, ...]
    distances: tuple[Distance, ...]
    combined: str  # GREATEST or SUM of the distances
    threshold: float

    def of(self, features: Sequence[Floats]) -> Floats:
        """Return (N,) scores, 0 and more, from (N, features) of each of its measures."""
        found = [distance.of(each) for distance, each in zip(self.distances, features, strict=True)]
        return _combine(np.array(found), self.combined)


@dataclass(frozen=True)
class Variant:
    """One of the scores that could be built of the same measures."""

    places: tuple[int, ...]  # of the measures that count
    combined: str
    scales: Floats  # (places,)
    threshold: float
    flagged: tuple[float, ...]  # share of each collection


def _distances(
    measures: Sequence[Measure], collections: Sequence[Sequence[Floats]], chosen: Sequence[NDArray[np.bool_]]
) -> list[Distance]:
    weights = np.concatenate([np.full(int(mask.sum()), 1 / mask.sum()) for mask in chosen])
    found = []
    for place, measure in enumerate(measures):
        together = [features[place][mask] for features, mask in zip(collections, chosen, strict=True)]
        found.append(Distance.fit(np.concatenate(together), weights, squash=measure.kind == DEVIATION))
    return found


def _choices(measures: Sequence[Measure]) -> list[tuple[tuple[int, ...], str]]:
    """Return which measures might count and how they might be combined; the simplest first, which wins a draw."""
    places = range(len(measures))
    deviations = tuple(place for place in places if measures[place].kind == DEVIATION)
    sets = dict.fromkeys([deviations, (*deviations, places[-1]), tuple(places)])
    return [(chosen, combined) for chosen in sets for combined in (GREATEST, SUM)]


def _variant(apart: Sequence[Floats], places: tuple[int, ...], combined: str) -> Variant:
    """Set the threshold from distances of radiographs, for each collection (measures, N)."""
    rows = list(places)
    scales = np.max([np.quantile(found[rows], PASSING, axis=1) for found in apart], axis=0)
    scores = [_combine(found[rows] / scales[:, np.newaxis], combined) for found in apart]
    ranks = [min(len(each), int(np.ceil(PASSING * (len(each) + 1)))) for each in scores]
    threshold = round(float(max(np.sort(each)[rank - 1] for each, rank in zip(scores, ranks, strict=True))), 4)
    return Variant(places, combined, scales, threshold, tuple(float((each > threshold).mean()) for each in scores))


def _noticed(variant: Variant, strange: Sequence[Floats]) -> float:
    """Return the share of other pictures above the threshold; every kind counts the same."""
    scales = variant.scales[:, np.newaxis]
    scores = [_combine(found[list(variant.places)] / scales, variant.combined) for found in strange]
    return float(np.mean([(each > variant.threshold).mean() for each in scores]))


def _combine(distances: Floats, combined: str) -> Floats:
    return np.asarray(distances.max(axis=0) if combined == GREATEST else distances.sum(axis=0), dtype=np.float64)


def find_measures(model: Any) -> tuple[Measure, ...]:
    """Say what tells radiographs from other pictures; nothing if the network has no feature maps."""
    from keras.layers import InputLayer, ZeroPadding2D

    last = {
        layer.output.shape[1]: layer.name
        for layer in _feature_network(model).layers
        if not isinstance(layer, InputLayer | ZeroPadding2D)
        and not isinstance(layer.output, list)
        and len(layer.output.shape) == 4
        and (layer.output.shape[1] or 0) > 1
        and layer.output.shape[3] > _COLOURS
    }
    maps = [last[size] for size in sorted(last, reverse=True)[-DEPTHS:]]
    finer, coarser = maps[: max(1, len(maps) - 1)], maps[-2:]
    return (*(Measure(name, DEVIATION) for name in finer), *(Measure(name, MEAN) for name in coarser))


def features_of(
    model: Any, measures: Sequence[Measure], images: NDArray[np.uint8], batch_size: int = 16
) -> list[Floats]:
    """Measure pictures.

    Args:
        model: A trained network.
        measures: From `find_measures`.
        images: (N, side, side, channels) uint8.
        batch_size: Pictures at once.

    Returns:
        (N, features) of each measure.
    """
    import keras

    entry, _, maps = _with_maps(model, measures)
    measured = keras.Model(entry, [_measured(each, measure) for each, measure in zip(maps, measures, strict=True)])
    found = measured.predict(images, batch_size=batch_size, verbose=0)
    return [np.asarray(each, dtype=np.float64) for each in (found if isinstance(found, list) else [found])]


def fit_outlier_score(
    measures: Sequence[Measure],
    collections: Sequence[Sequence[Floats]],
    clusters: Sequence[Sequence[str]],
    strangers: Sequence[Sequence[Floats]],
) -> tuple[OutlierScore, list[float]]:
    """Fit the distances, and the threshold on distances of images from those of other sources.

    Args:
        measures: From `find_measures`.
        collections: For each collection of radiographs its features of each measure, (N, features). Each collection
            counts the same, however large it is.
        clusters: For each collection the sources of its images, (N,).
        strangers: For each kind of other pictures their features of each measure. They choose which measures count
            and how they are combined, nothing else.

    Returns:
        The score, and for each collection the share of its images that is flagged when FOLDS parts of its sources
        are measured with what the other parts give. The threshold is the least one that lets PASSING of every
        collection through, counted as in split conformal prediction ((N + 1) instead of N).
    """
    parts = [np.unique(np.asarray(each), return_inverse=True)[1] % FOLDS for each in clusters]
    apart = [np.zeros((len(measures), len(each))) for each in parts]
    for fold in range(FOLDS):
        for place, distance in enumerate(_distances(measures, collections, [each != fold for each in parts])):
            for found, features, part in zip(apart, collections, parts, strict=True):
                found[place, part == fold] = distance.of(features[place][part == fold])
    final = _distances(measures, collections, [np.ones(len(each), dtype=bool) for each in parts])
    strange = [np.array([each.of(kind[place]) for place, each in enumerate(final)]) for kind in strangers]
    best = max((_variant(apart, *choice) for choice in _choices(measures)), key=lambda each: _noticed(each, strange))
    score = OutlierScore(
        tuple(measures[place] for place in best.places),
        tuple(replace(final[place], scale=float(scale)) for place, scale in zip(best.places, best.scales, strict=True)),
        best.combined,
        best.threshold,
    )
    return score, list(best.flagged)


def with_outlier_score(model: Any, score: OutlierScore) -> Any:
    """Return the network with a further output: (N, 1) outlier scores. The layers are the same objects."""
    import keras

    entry, outputs, maps = _with_maps(model, score.measures)
    found = [
        _distance(_measured(each, measure), distance, f"outlier_{place}")
        for place, (each, measure, distance) in enumerate(zip(maps, score.measures, score.distances, strict=True))
    ]
    join = keras.layers.Maximum if score.combined == GREATEST else keras.layers.Add
    strangeness = join(name="outlier_score")(found) if len(found) > 1 else found[0]
    given = outputs if isinstance(outputs, list) else [outputs]
    return keras.Model(entry, [*given, strangeness], name=model.name)


def _feature_network(model: Any) -> Any:
    return next((layer for layer in model.layers if layer.name == BACKBONE), model)


def _with_maps(model: Any, measures: Sequence[Measure]) -> tuple[Any, Any, list[Any]]:
    """Return the network's input, its output and the feature map of each measure, of one graph."""
    import keras

    backbone = _feature_network(model)
    names = list(dict.fromkeys(measure.layer for measure in measures))
    wanted = [backbone.get_layer(name).output for name in names]
    if backbone is model:
        return model.input, model.output, [wanted[names.index(measure.layer)] for measure in measures]
    opened = keras.Model(backbone.inputs, [*wanted, *backbone.outputs], name=BACKBONE)
    maps: list[Any] = []

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if layer is not backbone:
            return layer(*arguments, **options)
        found = opened(*arguments)
        maps.extend(found[: len(wanted)])
        features = found[len(wanted) :]
        return features[0] if len(features) == 1 else features

    copy = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return copy.input, copy.output, [maps[names.index(measure.layer)] for measure in measures]


def _measured(features: Any, measure: Measure) -> Any:
    """Turn (N, height, width, features) into (N, features). A deviation is half the mean absolute one."""
    from keras import layers

    if measure.kind == MEAN:
        return layers.GlobalAveragePooling2D()(features)
    middle = layers.GlobalAveragePooling2D(keepdims=True)(features)
    return layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Subtract()([features, middle])))


def _distance(features: Any, distance: Distance, name: str) -> Any:
    """Return (N, 1): what `Distance.of` computes, as layers."""
    from keras import layers

    if distance.half is not None:
        features = layers.Activation("softsign")(_shift(features, np.zeros_like(distance.half), distance.half, name))
    standard = _shift(features, distance.mean, distance.deviation, f"{name}_standard")
    turn = layers.Dense(len(distance.variances), use_bias=False, trainable=False, name=f"{name}_directions")
    along = turn(standard)
    turn.set_weights([(distance.directions / np.sqrt(distance.variances)).astype(np.float32)])
    squares = [layers.Multiply()([along, along]), layers.Multiply()([standard, standard])]
    add = layers.Dense(1, use_bias=False, trainable=False, name=f"{name}_distance")
    found = add(layers.Concatenate()(squares))
    # What lies along no direction is all squares less those along the directions.
    rest = np.full(len(distance.mean), 1 / distance.rest)
    factors = np.concatenate([1 - distance.variances / distance.rest, rest]) / distance.scale
    add.set_weights([factors.astype(np.float32)[:, np.newaxis]])
    return found


def _shift(features: Any, mean: Floats, deviation: Floats, name: str) -> Any:
    """Subtract and divide, as one factor and one addition: a variance may be too small for half precision."""
    from keras import layers

    layer = layers.BatchNormalization(epsilon=0.0, trainable=False, name=f"{name}_scaled")
    shifted = layer(features)
    none, one = np.zeros_like(mean), np.ones_like(mean)
    layer.set_weights([each.astype(np.float32) for each in (1 / deviation, -mean / deviation, none, one)])
    return shifted


def _squashed(features: Floats, half: Floats | None) -> Floats:
    return features if half is None else features / (features + half)
