"""What makes a shipped network faster, and what it costs: stored precision, integer arithmetic, smaller input.

    python -m benchmarks.smaller models/fracture/2.0.0 --data ../shared/data/fracture-binary [--sides 288,256,224]

All variants run on LiteRT with one thread and take turns. What they answer is judged on the validation split; the
difference from the network as it serves has an interval, bootstrapped over sources.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.measured import Measured, Part, ratio
from benchmarks.parts import as_text
from core.bundle import Bundle
from training.compile import compile_litert, converter_of
from training.data import load_dataset
from training.metrics import cluster_intervals, figures
from training.pictures import load_pictures
from training.sample import Sample

#: Pictures of train that tell the integer variant which values occur.
_CALIBRATION = 200
#: Runs before the first that counts.
_WARM_UP = 3
_MAX_PIXELS = 64_000_000


@dataclass
class _Variant:
    """One compiled network and what it answers."""

    name: str
    content: bytes
    side: int
    answers: NDArray[np.float64]
    turn: Callable[[], float]  # milliseconds an image, over some images


def measure(bundle: Bundle, data: Path, *, sides: tuple[int, ...], rounds: int, judge: int | None = None) -> Part:
    """Compile and judge every variant of a bundle's network.

    Args:
        bundle: With `model.keras`.
        data: The data set that it was trained on.
        sides: Further input sides, in pixels.
        rounds: How often each variant has its turn.
        judge: At most so many images of the validation split; None: all.
    """
    from keras.saving import load_model

    card = bundle.card
    dataset = load_dataset(data, card.labels, max_pixels=_MAX_PIXELS)
    samples = dataset.split("valid")[:judge]
    model: Any = load_model(bundle.file("model.keras"), compile=False, safe_mode=True)

    def shown(of: tuple[Sample, ...], side: int) -> Any:
        return load_pictures(of, card.labels, side=side, channels=card.channels, max_pixels=_MAX_PIXELS)

    valid = shown(samples, card.side)
    calibration = shown(dataset.split("train")[:: max(1, len(dataset.split("train")) // _CALIBRATION)], card.side)
    variants = [
        _variant("float32, as it serves", compile_litert(model), valid.images, len(card.labels)),
        _variant("float16 weights", compile_litert(model, "float16"), valid.images, len(card.labels)),
        _variant("8-bit weights", _quantised(model, None), valid.images, len(card.labels)),
        _variant("8-bit arithmetic", _quantised(model, calibration.images), valid.images, len(card.labels)),
    ]
    for side in sides:
        other = shown(samples, side)
        resized = _resized(model, side)
        variants.append(_variant(f"{side} px", compile_litert(resized), other.images, len(card.labels)))
    times: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            times[variant.name].append(variant.turn())
    measured = {name: Measured(name, "ms", tuple(found)) for name, found in times.items()}
    return _part(bundle, variants, measured, valid.targets, samples)


def _quantised(model: Any, pictures: NDArray[np.uint8] | None) -> bytes:
    """Compile with 8-bit weights, and with 8-bit arithmetic where pictures say which values occur."""
    import tensorflow as tf

    converter = converter_of(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if pictures is not None:

        def representative() -> Iterator[list[NDArray[np.uint8]]]:
            for picture in pictures:
                yield [picture[np.newaxis]]

        converter.representative_dataset = representative
    return bytes(converter.convert())


def _resized(model: Any, side: int) -> Any:
    """Build the same layers with the same weights for another input side."""
    was = f"{model.input_shape[1]}, {model.input_shape[2]}"
    config = json.loads(json.dumps(model.get_config()).replace(was, f"{side}, {side}"))
    other: Any = type(model).from_config(config)
    other.set_weights(model.get_weights())
    return other


def _variant(name: str, content: bytes, pictures: NDArray[np.uint8], classes: int) -> _Variant:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    (output,) = [each for each in interpreter.get_output_details() if each["shape"].tolist() == [1, classes]]

    def answer(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        interpreter.set_tensor(entry["index"], picture[np.newaxis].astype(entry["dtype"]))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output["index"])[0], dtype=np.float64)

    def turn() -> float:
        for picture in pictures[:_WARM_UP]:
            answer(picture)
        some = pictures[:32]
        started = time.perf_counter()
        for picture in some:
            answer(picture)
        return (time.perf_counter() - started) / len(some) * 1000

    return _Variant(name, content, pictures.shape[1], np.stack([answer(each) for each in pictures]), turn)


def _part(
    bundle: Bundle,
    variants: list[_Variant],
    times: dict[str, Measured],
    targets: NDArray[np.int64],
    samples: tuple[Sample, ...],
) -> Part:
    ours, *_ = variants
    judged_by = ("roc_auc", "log_loss") if len(bundle.card.labels) == 2 else ("accuracy", "top_3_accuracy", "log_loss")
    clusters = [sample.cluster for sample in samples]
    rows = []
    for variant in variants:

        def lost(weights: NDArray[np.float64], variant: _Variant = variant) -> dict[str, float]:
            theirs, mine = (figures(each.answers, targets, weights) for each in (variant, ours))
            return {name: theirs[name] - mine[name] for name in judged_by}

        found, intervals = figures(variant.answers, targets), cluster_intervals(lost, clusters, draws=500)
        changed = int((variant.answers.argmax(axis=1) != ours.answers.argmax(axis=1)).sum())
        rows.append(
            (
                variant.name,
                f"{len(variant.content) / 1e6:.1f}",
                times[variant.name].shown(),
                f"{ratio('', times[ours.name], times[variant.name]).median:.2f}",
                f"{changed}",
                f"{np.abs(variant.answers - ours.answers).max():.1e}",
                *(
                    f"{found[name]:.3f}" + ("" if variant is ours else " ({:+.3f} to {:+.3f})".format(*intervals[name]))
                    for name in judged_by
                ),
            )
        )
    return Part(
        title=f"{bundle.card.name} {bundle.card.version} on LiteRT, one thread; {len(targets)} images of valid",
        head=("variant", "MB", "ms an image", "speed", "labels changed", "largest difference", *judged_by),
        rows=tuple(rows),
        notes=("Behind a figure: the 95 % interval of its difference from the network as it serves.",),
        figures=times,
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--sides", default="", help="Further input sides in pixels, with commas.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
def main(bundle: Path, data: Path, sides: str, rounds: int) -> None:
    """Print what makes the network of BUNDLE faster, and what it costs."""
    asked = tuple(int(side) for side in sides.split(",") if side)
    for line in as_text(measure(Bundle.open(bundle), data, sides=asked, rounds=rounds)):
        click.echo(line)


if __name__ == "__main__":
    main()
