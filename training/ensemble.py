"""Average the networks of several runs into one, which is published like any other.

Networks that err differently are better together; so are a network's answers for a picture and for its mirror image.
The ensemble's out-of-fold predictions are the average of its members': all must have been made over the same folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigurationError
from core.words import counted
from training.folds import OutOfFold
from training.recipe import LAST_EPOCH
from training.run_folder import RUN_FILE, RunFolder

#: What `run.json` gives as the recipe of an ensemble.
ENSEMBLE = "ensemble"


def average_runs(members: Sequence[RunFolder], folder: Path, *, mirrored: bool = False) -> RunFolder:
    """Make a run folder whose network answers with the mean of the members' probabilities.

    Args:
        members: Two or more finished runs of one task (one is enough with `mirrored`), on the same data, at the same
            input side, all with folds or all without.
        folder: Of the new run; empty or missing.
        mirrored: Ask each member of the mirror image too.

    Raises:
        ConfigurationError: The members do not fit together, one is not finished, or the folder holds a run.
    """
    _check(members, least=1 if mirrored else 2)
    if (folder / RUN_FILE).is_file():
        raise ConfigurationError(f"{folder} already holds a run; give another --run.")
    predictions = _average_out_of_fold(members, mirrored=mirrored)
    model = _network(members, mirrored=mirrored)
    run = RunFolder.start_or_resume(folder, _describe(members, mirrored=mirrored))
    if predictions is not None:
        predictions.save(run.out_of_fold_file)
    row = {"epoch": 1, "phase": f"average of {counted(len(members), 'network')}", "seconds": 0.0}
    run.record_epoch(row, model, best=model)
    return run


def _check(members: Sequence[RunFolder], *, least: int) -> None:
    if len(members) < least:
        raise ConfigurationError("An ensemble needs two runs at least, or one and its mirror images (--mirrored).")
    first = members[0]
    for run in members[1:]:
        for words, one, other in (
            ("labels", first.description["labels"], run.description["labels"]),
            ("data or splits", first.description["data"]["sha256"], run.description["data"]["sha256"]),
            ("image sizes", _asked(first, "image_size"), _asked(run, "image_size")),
            ("numbers of folds", _asked(first, "folds"), _asked(run, "folds")),
        ):
            if one != other:
                raise ConfigurationError(
                    f"The runs in {first.folder} and {run.folder} have different {words}; they cannot be averaged."
                )


def _asked(run: RunFolder, name: str) -> Any:
    return run.description["parameters"].get(name)


def _describe(members: Sequence[RunFolder], *, mirrored: bool) -> dict[str, Any]:
    first = members[0].description
    own = {name: first["parameters"][name] for name in ("image_size", "seed", "geometry", "folds", "trains_on_valid")}
    each = [{"recipe": run.description["recipe"], **run.description["parameters"]} for run in members]
    names = ", ".join(run.description["recipe"] for run in members)
    kind = first["title"].partition(", ")[0]
    return first | {
        "recipe": ENSEMBLE,
        "title": f"{kind}, average of {counted(len(members), 'network')} ({names}){' and mirror images' * mirrored}",
        "parameters": own | {"monitor": LAST_EPOCH, "members": each, "mirrored": mirrored},
    }


def _average_out_of_fold(members: Sequence[RunFolder], *, mirrored: bool) -> OutOfFold | None:
    if not any(run.out_of_fold_file.is_file() for run in members):
        return None
    parts = [OutOfFold.load(run.out_of_fold_file) for run in members]
    first = parts[0]
    if any(part.sha256 != first.sha256 or not np.array_equal(part.folds, first.folds) for part in parts):
        raise ConfigurationError("The runs' out-of-fold predictions are of other images or other folds.")
    answers = [part.probabilities for part in parts]
    if mirrored:
        for run, part in zip(members, parts, strict=True):
            if part.mirrored is None:
                raise ConfigurationError(
                    f"The out-of-fold predictions in {run.folder} are of an older version, without mirror images; "
                    "train that run again."
                )
            answers.append(part.mirrored)
    return OutOfFold(
        sha256=first.sha256,
        clusters=first.clusters,
        folds=first.folds,
        targets=first.targets,
        probabilities=np.mean(answers, axis=0),
    )


def _network(members: Sequence[RunFolder], *, mirrored: bool) -> Any:
    import keras

    networks: list[Any] = [keras.saving.load_model(run.best_file, compile=False, safe_mode=True) for run in members]
    # The first stays as it is, with its backbone in sight: the outlier score measures that one's features.
    first, others = networks[0], networks[1:]
    (picture,) = first.inputs
    answers = [first.outputs[0]]
    for number, network in enumerate(others, start=2):
        nested = keras.Model(network.inputs[0], network.outputs[0], name=f"member_{number}")
        answers.append(nested(picture))
        if mirrored:
            answers.append(nested(keras.ops.flip(picture, axis=2)))
    if mirrored:
        answers.append(_ask_again(first, keras.ops.flip(picture, axis=2)))
    mean = keras.layers.Average(dtype="float32", name="mean_of_members")(answers)
    return keras.Model(picture, mean, name=ENSEMBLE)


def _ask_again(network: Any, picture: Any) -> Any:
    """Return what a network answers to another tensor: the same layers, called once more in the same graph.

    A model of its own over these layers would share them with the graph around it, and such files do not load.
    """
    import keras

    answers: list[Any] = []
    last = network.layers[-1]

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        found = layer(*arguments, **options)
        if layer is last:
            answers.append(found)
        return found

    given = keras.tree.map_structure(lambda _: picture, network.input)
    keras.models.clone_model(network, input_tensors=given, clone_function=lambda layer: layer, call_function=call)
    return answers[-1]
