"""Load TensorFlow without its start-up messages, which look like faults and tear the progress bar."""

from __future__ import annotations

import os

from core.engines.quiet import held_back_standard_error


def load_tensorflow() -> None:
    """Import TensorFlow and find its devices; what the C++ side says meanwhile is shown only if that fails.

    The messages come before TensorFlow reads its log level, so that no environment variable stops them
    (measured with 2.21).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with held_back_standard_error():
        import tensorflow as tf

        tf.config.list_physical_devices()
