"""A process that runs one engine for a second whenever it is asked to. TensorFlow and the others stay apart."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Bundle

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

#: Batches before the first that counts.
_WARM_UP = 3


@dataclass(frozen=True)
class Seat:
    """How an engine is run in one process."""

    engine: str
    batch: int
    threads: int


def serve(connection: Connection, seat: Seat, folder: Path, onnx: Path, pictures: NDArray[np.uint8]) -> None:
    """Load the engine, say what it answers, then measure whenever a number of seconds comes in; None ends it.

    Sends first the probabilities of `pictures`, then for each request (images, seconds, peak memory in MiB).
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    run = _ENGINES[seat.engine](Bundle.open(folder), onnx, seat)
    count = seat.batch
    shown = pictures[np.arange(-(-len(pictures) // count) * count) % len(pictures)]
    batches = [shown[start : start + count] for start in range(0, len(shown), count)]
    connection.send(np.concatenate([run(batch) for batch in batches])[: len(pictures)])
    for _ in range(_WARM_UP):
        run(batches[0])
    while (seconds := connection.recv()) is not None:
        done, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            run(batches[done // count % len(batches)])
            done += count
        connection.send((done, taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _litert(bundle: Bundle, _onnx: Path, seat: Seat) -> Run:
    from core.engines.litert import LiteRTClassifier

    classifier = LiteRTClassifier(bundle, threads=seat.threads)
    return lambda batch: classifier.run(batch).probabilities


def _tensorflow(seat: Seat) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(seat.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def _keras_predict(bundle: Bundle, _onnx: Path, seat: Seat) -> Run:
    _tensorflow(seat)
    from keras.saving import load_model

    model: Any = load_model(bundle.file("model.keras"), compile=False, safe_mode=True)

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = model.predict(batch, batch_size=len(batch), verbose=0)
        return np.asarray(found[0] if isinstance(found, list) else found)

    return run


def _tf_function(bundle: Bundle, _onnx: Path, seat: Seat) -> Run:
    _tensorflow(seat)
    from core.engines.keras import KerasClassifier

    classifier = KerasClassifier(bundle)
    return lambda batch: classifier.run(batch).probabilities


def _openvino(bundle: Bundle, onnx: Path, seat: Seat, precision: str = "f32") -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx)
    model.reshape([seat.batch, bundle.card.side, bundle.card.side, bundle.card.channels])
    # Left alone it computes in bfloat16 where the processor can, which is another accuracy.
    settings = {
        "INFERENCE_NUM_THREADS": seat.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(model, "CPU", settings)
    return lambda batch: np.asarray(compiled(batch)[0])


def _openvino_bf16(bundle: Bundle, onnx: Path, seat: Seat) -> Run:
    return _openvino(bundle, onnx, seat, "bf16")


def _onnxruntime(_bundle: Bundle, onnx: Path, seat: Seat) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = seat.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return lambda batch: np.asarray(session.run(None, {entry.name: batch})[0])


_ENGINES: dict[str, Callable[[Bundle, Path, Seat], Run]] = {
    "litert": _litert,
    "keras predict": _keras_predict,
    "tf.function": _tf_function,
    "openvino": _openvino,
    "openvino bf16": _openvino_bf16,
    "onnxruntime": _onnxruntime,
}
ENGINES = tuple(_ENGINES)
