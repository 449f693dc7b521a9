"""Results as CSV, JSON or Parquet, a page at a time, so that a million need no more memory than a thousand."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from core.errors import ConfigurationError
from core.records.results import Result

FORMATS = ("csv", "json", "parquet")
COLUMNS = ("id", "name", "source", "status", "label", "confidence", "model", "received_at", "finished_at", "error")
_MORE = ("sha256", "prediction_set", "flags", "fracture_probability", "fracture_label", "fracture_model", "patient_key")
_NUMBERS = ("confidence", "fracture_probability")
#: Rows that are in memory at once while Parquet is written.
_GROUP = 10_000


def write_json(found: Iterable[Result], stream: TextIO) -> None:
    """Write one document, a list, one result at a time."""
    stream.write("[")
    for number, result in enumerate(found):
        stream.write(",\n" if number else "\n")
        stream.write(json.dumps(result.document()))
    stream.write("\n]\n")


def write_csv(found: Iterable[Result], stream: TextIO, labels: Sequence[str]) -> None:
    """Write a table with a heading.

    Args:
        found: The rows.
        stream: Opened with `newline=""`.
        labels: Each gets a column with its probability.
    """
    writer = csv.writer(stream)
    writer.writerow([*COLUMNS, *_MORE, *labels])
    for result in found:
        row = _flat(result)
        cells = [row[column] for column in (*COLUMNS, *_MORE)] + [result.scores.get(label) for label in labels]
        writer.writerow([formula_safe(cell) for cell in cells])


def write_parquet(found: Iterable[Result], output: Path) -> None:
    """Write a Parquet file.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow; install fracture-queue[parquet].") from error
    kinds = {"id": pa.int64(), **dict.fromkeys(_NUMBERS, pa.float64())}
    columns = [(name, kinds.get(name, pa.string())) for name in (*COLUMNS, *_MORE)]
    schema = pa.schema([*columns, ("scores", pa.map_(pa.string(), pa.float64()))])
    with pq.ParquetWriter(output, schema) as writer:
        for group in _groups(found):
            rows = [{**_flat(result), "scores": list(result.scores.items())} for result in group]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def formula_safe(cell: Any) -> Any:
    """Keep a spreadsheet from running a file's name as a formula (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _groups(found: Iterable[Result]) -> Iterator[list[Result]]:
    rows = iter(found)
    while group := list(islice(rows, _GROUP)):
        yield group


def _flat(result: Result) -> dict[str, Any]:
    document = result.document()
    fracture = document.pop("fracture") or {}
    return {
        **document,
        **{f"fracture_{key}": fracture.get(key) for key in ("probability", "label", "model")},
        "error": f"{result.error['code']}: {result.error['words']}" if result.error else None,
        "prediction_set": " ".join(result.prediction_set),
        "flags": " ".join(result.flags),
    }
