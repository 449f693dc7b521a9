"""A user's own model file: what it says of itself, read without running any of it, and how it is loaded.

Model files can carry code: a `Lambda` layer holds Python bytecode, a custom layer names a module to import. Both are
refused before Keras sees the file. `.keras` is then loaded in safe mode. Safe mode means little for `.h5`, so that is
turned into `.keras` once, in a process of its own with limits (`python -m training.model_files`).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from training.quiet import load_tensorflow

SUFFIXES = (".keras", ".h5", ".hdf5")
#: Limits of the process that reads `.h5`. Our choice: a network of a gigabyte converts well within them.
_SECONDS = 300
_MEMORY_BYTES = 8 * 2**30
_WRITTEN_BYTES = 4 * 2**30
_LONGEST_REASON = 300


def load_model_file(path: Path) -> Any:
    """Load a whole Keras model that holds built-in layers only.

    Args:
        path: A `.keras`, `.h5` or `.hdf5` file.

    Raises:
        ConfigurationError: The file is missing, damaged, no whole model, made of custom code, or too old.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"{path} is no model file by its name; a whole model in .keras or .h5 is needed.")
    if not path.is_file():
        raise ConfigurationError(f"There is no model file {path}.")
    if path.suffix.lower() == ".keras":
        refuse_code(read_keras_config(path), path)
        return _load_safely(path)
    refuse_code(read_h5_config(path), path)
    with tempfile.TemporaryDirectory(prefix="fracture-import-") as place:
        converted = Path(place) / "converted.keras"
        _convert_in_a_process(path, converted)
        refuse_code(read_keras_config(converted), path)
        return _load_safely(converted)


def read_keras_config(path: Path) -> Any:
    """Return the configuration in a `.keras` file; nothing is run.

    Raises:
        ConfigurationError: It is no such file, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ConfigurationError(f"{path} is no Keras model, or it is damaged or cut off.") from error


def read_h5_config(path: Path) -> Any:
    """Return the configuration in an `.h5` file; nothing is run.

    Raises:
        ConfigurationError: It is no such file, damaged, or holds weights without their network.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
        text = config.decode() if isinstance(config, bytes) else config
        if text is not None:
            return json.loads(text)
    # h5py raises OSError, KeyError and RuntimeError for damaged files.
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ConfigurationError(f"{path} is no Keras model, or it is damaged or cut off.") from error
    raise ConfigurationError(f"{path} holds weights without their network; save the whole model with model.save().")


def refuse_code(config: Any, path: Path) -> None:
    """Accept only layers and functions that are built into Keras.

    Raises:
        ConfigurationError: Names what is not.
    """
    for entry in _objects(config):
        name = str(entry.get("class_name"))
        module, registered = entry.get("module"), str(entry.get("registered_name") or "")
        if name in ("Lambda", "__lambda__") or "__lambda__" in entry:
            raise ConfigurationError(
                f"{path} holds a Lambda layer, which is Python code inside the file; replace it with built-in layers."
            )
        built_in = module is None or str(module).split(".")[0] in ("keras", "builtins", "tf_keras")
        # `TFOpLambda` and `SlicingOpLambda` name a function of TensorFlow; no built-in layer of Keras 3 does.
        if not built_in or ">" in registered or ">" in name or name.endswith("OpLambda"):
            strange = name.split(">")[-1]
            raise ConfigurationError(
                f"{path} holds {strange!r}, which is not built into Keras; only what is can be used."
            )


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if "class_name" in config or "__lambda__" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _load_safely(path: Path) -> Any:
    load_tensorflow()
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    # Keras raises ValueError, TypeError, KeyError, AttributeError, OSError and more for files that it cannot build.
    except Exception as error:
        raise ConfigurationError(f"Keras cannot load {path}: {reason(error)}.") from error


def _convert_in_a_process(path: Path, converted: Path) -> None:
    command = [sys.executable, "-m", "training.model_files", str(path.absolute()), str(converted)]
    room = {"PATH": os.environ.get("PATH", ""), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment = room | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "HOME": str(converted.parent)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, env=environment, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"{path} could not be converted within {_SECONDS} seconds.") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["the process that read it was stopped"]
        raise ConfigurationError(
            f"Keras 3 cannot load {path} ({words[0][:_LONGEST_REASON].rstrip('.')}). A file of an older Keras must be "
            "loaded where it was made and saved again as .keras."
        )


def reason(error: Exception) -> str:
    """Return the first line of a foreign error, short enough for a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:_LONGEST_REASON].rstrip(".: ")


def convert(source: str, target: str) -> None:
    """Turn an `.h5` file into `.keras`, within the limits of this process."""
    for what, limit in (
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_DATA, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, _WRITTEN_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    import keras

    model: Any = keras.saving.load_model(source, compile=False, safe_mode=True)
    model.save(target)


if __name__ == "__main__":
    try:
        convert(*sys.argv[1:])
    except Exception as problem:  # the other process makes the sentence
        sys.exit(reason(problem))
