"""Python loads this first in every process of a worker that a test starts with this folder on its path.

A radiograph that ends with a mark then harms whoever decodes or classifies it, really: the process crashes, hangs or
takes all memory. Nothing else is changed.
"""

import ctypes
import os
import signal
import time
from typing import Any

import numpy as np

from worker import batching as _batching

batching: Any = _batching

MARK = b"POISON "
_read, _classify = batching.read_radiograph, batching.classify
_deadly_inputs: set[bytes] = set()


def _read_and_suffer(data: bytes, **options: Any) -> Any:
    harm = data.rpartition(MARK)[2].decode() if MARK in data[-40:] else ""
    if harm == "crash in decode":
        ctypes.string_at(0)
    elif harm == "hang in decode":
        while True:
            pass
    elif harm == "hog in decode":
        hog = []
        while True:
            hog.append(np.ones(2**23))  # 64 MiB, touched
    elif harm == "kill the worker in decode":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    elif harm == "grow and be killed in decode":
        hog = [np.ones(2**25)]  # 256 MiB, touched, for long enough to be seen
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGKILL)
    reading = _read(data, **options)
    if harm == "crash in the engine":
        _deadly_inputs.add(reading.model_input.tobytes())
    return reading


def _classify_and_suffer(classifier: Any, batch: Any) -> Any:
    if any(picture.tobytes() in _deadly_inputs for picture in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return _classify(classifier, batch)


batching.read_radiograph, batching.classify = _read_and_suffer, _classify_and_suffer
