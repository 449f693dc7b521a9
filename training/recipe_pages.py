"""The record of all recipes as the tables of docs/models.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]

#: What the published systems of the same kind say of themselves, on the data set's own folders or on a pooled split.
#: EfficientNet-Lite2 and ResNet50V2 are the backbones nearest to theirs whose weights were at hand.
_PUBLISHED = {
    "fusion-efficientnetb3": "0.886",
    "fusion-efficientnetlite2": "0.886",
    "resnet50v2": "0.935",
    "resnet50v2-128": "0.416",
    "cnn": "0.298",
    "cnn (PyTorch)": "0.172",
}
_LEAK_FREE, _OWN, _POOLED = "leak-free", "column official_split, leaky", "pooled, random, leaky"


def pages(record: Mapping[str, Row]) -> str:
    """Return all tables, each with its heading, and the commands.

    Args:
        record: Rows of `recipe_table.describe_run`, by the run's name.
    """
    rows = list(record.values())
    ten_classes = [row for row in rows if not _is_binary(row)]
    parts = [
        (
            "All recipes on the leak-free split",
            as_markdown(_leak_free_cells(row) for row in _on(ten_classes, _LEAK_FREE)),
        ),
        ("What leakage is worth: accuracy on test", as_markdown(_leakage_cells(ten_classes))),
        ("Fractured or not, leak-free", as_markdown(_binary_cells(row) for row in rows if _is_binary(row))),
        ("Each row's command", "\n".join(f"    {row['command']}" for row in rows)),
    ]
    return "\n\n".join(f"### {title}\n\n{body}" for title, body in parts if body)


def as_markdown(table: Iterable[Mapping[str, str]]) -> str:
    """Return rows as a Markdown table; a figure that a row lacks is a dash. No rows are no table."""
    table = list(table)
    columns = list(dict.fromkeys(name for row in table for name in row))
    if not columns:
        return ""
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    lines += ["| " + " | ".join(row.get(name, "-") for name in columns) + " |" for row in table]
    return "\n".join(lines)


def _is_binary(row: Row) -> bool:
    return "roc_auc" in row["valid"]


def _on(rows: Iterable[Row], split: str) -> list[Row]:
    return [row for row in rows if row["split"] == split]


def _name(row: Row) -> str:
    return str(row["recipe"]) + (" (PyTorch)" if row["backend"] == "torch" else "")


def _begins(row: Row) -> dict[str, str]:
    return {
        "recipe": _name(row),
        "million weights": f"{row['parameters'] / 1e6:.1f}",
        "px": str(row["image_size"]),
        "begins with": "nothing" if row["weights"] == "none" else "ImageNet",
        "epochs": str(row["epochs"]),
    }


def _leak_free_cells(row: Row) -> dict[str, str]:
    cells = _begins(row)
    for split in ("train", "valid", "test"):
        scores = row[split]
        cells[f"{split} accuracy"] = _figure(scores, "accuracy", interval=split == "test")
        cells[f"{split} macro F1"] = _figure(scores, "macro_f1")
    return cells


def _binary_cells(row: Row) -> dict[str, str]:
    judged = {f"{split} ROC AUC": _figure(row[split], "roc_auc", interval=split != "train") for split in _judged(row)}
    return {**_begins(row), **judged}


def _leakage_cells(rows: Iterable[Row]) -> list[dict[str, str]]:
    rows = list(rows)
    found = []
    for name in dict.fromkeys(_name(row) for row in rows):
        cells = {"recipe": name, "published": _PUBLISHED.get(name, "-")}
        for split, column in ((_OWN, "own Train / Test"), (_POOLED, "pooled, random"), (_LEAK_FREE, "leak-free")):
            row = next((row for row in _on(rows, split) if _name(row) == name), None)
            cells[column] = "-" if row is None else _figure(row["test"], "accuracy", interval=True)
        found.append(cells)
    return found


def _judged(row: Row) -> list[str]:
    return [split for split in ("train", "valid", "test") if split in row]


def _figure(scores: Row, name: str, *, interval: bool = False) -> str:
    shown = f"{scores[name]:.3f}"
    if interval:
        low, high = scores["intervals"][name]
        shown += f" ({low:.2f} to {high:.2f})"
    return shown
