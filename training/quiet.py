"""Load TensorFlow without its start-up messages, which look like faults and tear the progress bar."""

from __future__ import annotations

import importlib
import os

from core.engines.quiet import held_back_standard_error
from core.errors import ConfigurationError


def load_tensorflow() -> None:
    """Import TensorFlow and find its devices; what the C++ side says meanwhile is shown only if that fails.

    The messages come before TensorFlow reads its log level, so that no environment variable stops them
    (measured with 2.21).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with held_back_standard_error():
        import tensorflow as tf

        tf.config.list_physical_devices()


def load_keras() -> None:
    """Import Keras with the backend that `KERAS_BACKEND` names, TensorFlow unless it says otherwise.

    Raises:
        ConfigurationError: The backend is unknown or not installed.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        load_tensorflow()
    try:
        importlib.import_module("keras")
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"Keras cannot use the backend KERAS_BACKEND={os.environ.get('KERAS_BACKEND')}: {error}."
        ) from error
