"""A bundle of plain MobileNetV2 at 224 px: the same work for all contestants, whatever the shipped models are."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.bundle import Bundle

NAME, VERSION, SIDE = "plain-mobilenetv2", "1.0.0", 224


def make_plain_bundle(models: Path) -> Bundle:
    """Build it below a models folder; its weights are random, since speed does not depend on them."""
    from training.quiet import load_tensorflow

    load_tensorflow()
    import keras

    from training.importing import import_model
    from training.labels import labels_of_task

    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output)
    labels = labels_of_task("fracture-type")
    answers = keras.layers.Dense(len(labels), activation="softmax")(pooled)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "plain.keras"
        keras.Model(backbone.input, answers).save(file)
        return import_model(_request(file, models, labels))


def _request(file: Path, models: Path, labels: tuple[str, ...]) -> Any:
    from training.importing import Import

    return Import(
        file=file,
        labels=labels,
        task="fracture-type",
        input_range="-1-1",
        outputs="probabilities",
        image_size=SIDE,
        models=models,
        name=NAME,
        version=VERSION,
        title="MobileNetV2 with random weights, for benchmarks",
    )
