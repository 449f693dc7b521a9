"""The peer: one Celery task for each image, `model.predict` on one image, one insert. What most people write first.

Run by `benchmarks.pipeline`: `celery -A benchmarks.peers.one_task_per_image worker`.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import numpy as np
from celery import Celery
from PIL import Image
from sqlalchemy import create_engine, insert

from benchmarks.peers.answers import answers

app = Celery("peer", broker=os.environ["PEER_BROKER_URL"])
engine = create_engine(os.environ["PEER_DATABASE_URL"])
LABELS = os.environ["PEER_LABELS"].split(",")


@cache
def model() -> Any:
    """Load the network once a process."""
    import keras

    return keras.saving.load_model(os.environ["PEER_MODEL"])


@app.task  # type: ignore[untyped-decorator]  # Celery ships no types
def classify(path: str) -> None:
    """Classify one image and store its answer."""
    _, side, _, channels = model().input_shape
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L").resize((side, side)))
    found = model().predict(np.repeat(pixels[np.newaxis, :, :, np.newaxis], channels, axis=3), verbose=0)
    scores = (found[0] if isinstance(found, list) else found)[0]  # some networks give a second output
    best = int(scores.argmax())
    with engine.begin() as connection:
        connection.execute(
            insert(answers).values(path=path, label=LABELS[best], confidence=float(scores[best]), stored_at=time.time())
        )
