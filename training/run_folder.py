"""The folder of one training run: what was asked, what happened, and the state to go on from.

    run.json        what was asked: recipe, parameters, data, versions; written once
    progress.json   one row per finished epoch, and which of the two files below belong to them
    epoch-N.weights.h5   network and optimiser after epoch N, to resume from
    best-N.keras    the network of the best epoch, without optimiser
    out-of-fold.npz predictions of every train and valid image by a network that never saw it (`train --folds`)
    test-reads.json how often the test split was read to judge this run; once is honest
    run.lock        held by the process that trains
    history.csv, history.json, curves.png   for people

`progress.json` is replaced atomically after both files lie there, and only then are older ones removed. A kill at
any moment therefore leaves a consistent state: the epoch counts whole or not at all.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from core.locks import held_alone

RUN_FILE = "run.json"
PROGRESS_FILE = "progress.json"
OUT_OF_FOLD_FILE = "out-of-fold.npz"
TEST_READS_FILE = "test-reads.json"
LOCK_FILE = "run.lock"


def default_folder(description: dict[str, Any]) -> Path:
    """Name a run after everything that was asked, so that the same command finds its own run again."""
    asked = json.dumps([description["parameters"], description["data"]], sort_keys=True)
    return Path("runs") / f"{description['recipe']}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if it is missing: two trainings would replace each other's files.

    Raises:
        ConfigurationError: Another process trains this run, or the folder is not ours to write.
    """
    lock = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise ConfigurationError(f"The run folder {folder} cannot be written: {error.strerror}.") from error
    said = f"already trains the run in {folder}; wait for it, or give another --run."
    with held_alone(lock, lambda process: ConfigurationError(f"Process {process} {said}")):
        yield


class RunFolder:
    """One run on disk. `rows` is its history, oldest epoch first."""

    def __init__(self, folder: Path, description: dict[str, Any], progress: dict[str, Any]) -> None:
        self.folder = folder
        self.description = description
        self.rows: list[dict[str, Any]] = progress["epochs"]
        self._state: str | None = progress["state"]
        self._best: str | None = progress["best"]

    @classmethod
    def open(cls, folder: Path) -> RunFolder:
        """Read a run.

        Raises:
            ConfigurationError: The folder holds no run, or a damaged one.
        """
        try:
            description = json.loads((folder / RUN_FILE).read_text())
            progress_file = folder / PROGRESS_FILE
            progress = json.loads(progress_file.read_text()) if progress_file.is_file() else {}
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigurationError(f"There is no training run in {folder}: {RUN_FILE} is missing.") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"The training run in {folder} cannot be read: {error}.") from error
        return cls(folder, description, {"epochs": [], "state": None, "best": None} | progress)

    @classmethod
    def start_or_resume(cls, folder: Path, description: dict[str, Any]) -> RunFolder:
        """Begin a run, or open the one in `folder` if it was asked for the same; one without epochs begins anew.

        Raises:
            ConfigurationError: The run in the folder has other parameters or other data, or the folder is not ours
                to write.
        """
        if (folder / RUN_FILE).is_file():
            run = cls.open(folder)
            if run.rows:
                run._compare(description)
                return run
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(folder / RUN_FILE, lambda path: path.write_text(json.dumps(description, indent=2) + "\n"))
        except OSError as error:
            raise ConfigurationError(f"The run folder {folder} cannot be written: {error.strerror}.") from error
        return cls.open(folder)

    @property
    def state_file(self) -> Path | None:
        """Network and optimiser after the last finished epoch; None before the first."""
        return None if self._state is None else self.folder / self._state

    @property
    def best_file(self) -> Path:
        """The network of the best epoch.

        Raises:
            ConfigurationError: No epoch is finished.
        """
        if self._best is None:
            raise ConfigurationError(f"The run in {self.folder} has not finished an epoch; train it first.")
        return self.folder / self._best

    @property
    def best_row(self) -> dict[str, Any]:
        """The history's row of the best epoch.

        Raises:
            ConfigurationError: No epoch is finished.
        """
        number = self.best_file.name.removeprefix("best-").removesuffix(".keras")
        return self.rows[int(number) - 1]

    def record_epoch(self, row: dict[str, Any], model: Any, *, best: Any | None) -> None:
        """Keep a finished epoch: its row, the state to resume from and, if it is the best so far, the bare network."""
        number = len(self.rows) + 1
        self._state = f"epoch-{number}.weights.h5"
        _replace(self.folder / self._state, lambda path: model.save_weights(path))
        if best is not None:
            self._best = f"best-{number}.keras"
            _replace(self.folder / self._best, lambda path: best.save(path))
        self.rows.append(row)
        document = json.dumps({"epochs": self.rows, "state": self._state, "best": self._best}, indent=1)
        _replace(self.folder / PROGRESS_FILE, lambda path: path.write_text(document))
        self._write_history()
        self._remove_older()

    @property
    def out_of_fold_file(self) -> Path:
        """Predictions by networks that had not seen the image; missing unless the run was made with folds."""
        return self.folder / OUT_OF_FOLD_FILE

    @property
    def test_reads(self) -> int:
        """How often the test split has been read to judge this run's network."""
        path = self.folder / TEST_READS_FILE
        return int(json.loads(path.read_text())["count"]) if path.is_file() else 0

    def count_test_read(self) -> None:
        """Note one more reading; before it happens, so that an interrupted one counts."""
        document = json.dumps({"count": self.test_reads + 1}) + "\n"
        _replace(self.folder / TEST_READS_FILE, lambda path: path.write_text(document))

    def _compare(self, description: dict[str, Any]) -> None:
        before, now = self.description["parameters"], description["parameters"]
        differences = [
            f"{name} was {before.get(name)}, is {now.get(name)}"
            for name in sorted(set(before) | set(now))
            if before.get(name) != now.get(name)
        ]
        if self.description["data"] != description["data"]:
            differences.append("the images, their classes or their splits are others")
        if differences:
            raise ConfigurationError(
                f"The run in {self.folder} cannot go on with other settings ({'; '.join(differences)}). "
                "Repeat them as they were, or give another --run."
            )

    def _write_history(self) -> None:
        def write_csv(path: Path) -> None:
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, fieldnames=list(self.rows[0]))
                writer.writeheader()
                writer.writerows(self.rows)

        _replace(self.folder / "history.csv", write_csv)
        _replace(self.folder / "history.json", lambda path: path.write_text(json.dumps(self.rows, indent=1) + "\n"))

    def _remove_older(self) -> None:
        for pattern, kept in (("epoch-*.weights.h5", self._state), ("best-*.keras", self._best)):
            for path in self.folder.glob(pattern):
                if path.name != kept:
                    path.unlink(missing_ok=True)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside `path` and move it there in one step. Keras looks at the suffix, so the name keeps it."""
    beside = path.with_name(f"new-{path.name}")
    write(beside)
    beside.replace(path)
