"""Load TensorFlow without its start-up messages, which look like faults and tear the progress bar."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_tensorflow() -> None:
    """Import TensorFlow and find its devices; what the C++ side says meanwhile is shown only if that fails.

    The messages come before TensorFlow reads its log level, so that no environment variable stops them
    (measured with 2.21).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _held_back_standard_error():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextmanager
def _held_back_standard_error() -> Iterator[None]:
    """Keep what any code of this process writes to file descriptor 2; write it after all if the block fails."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(real, kept.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
