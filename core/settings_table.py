"""The settings as a table for the README; a test compares the two, `make docs` writes it."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from core.settings import PREFIX, Settings


def settings_table() -> str:
    """Return a Markdown table: variable, meaning, default."""
    rows = [
        f"| `{PREFIX}{setting.name.upper()}` | {setting.metadata['help']} | {_default(setting)} |"
        for setting in fields(Settings)
    ]
    return "\n".join(["| Variable | Meaning | Default |", "|---|---|---|", *rows])


def _default(setting: Field[Any]) -> str:
    if setting.metadata["shown"]:
        return str(setting.metadata["shown"])
    return f"`{setting.default:g}`" if isinstance(setting.default, float) else f"`{setting.default}`"
