"""`make docs`: write the tables that tests compare into the documents."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from core.settings_table import settings_table
from tests.conftest import PROJECT
from tests.dicom_cases import MADE, REAL, content, outcome, row
from tests.licences import DOCUMENT, licences_document
from tests.profile_table import profile_rows
from training.recipe_pages import pages

START, END = "<!-- settings: written by `make docs` -->", "<!-- end of settings -->"
PROFILE_START, PROFILE_END = "<!-- elements: written by `make docs` -->", "<!-- end of elements -->"
RECIPES_START, RECIPES_END = "<!-- recipes: written by `make docs` -->", "<!-- end of recipes -->"
DICOM_START, DICOM_END = "<!-- files: written by `make docs` -->", "<!-- end of files -->"


def write(page: Path, start: str, end: str, table: str) -> None:
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{start}\n{table}\n{end}", text), encoding="utf-8")


def dicom_table(folder: Path) -> str:
    """Try every file, and say what became of it."""
    rows = [row(case, outcome(content(case, folder))) for case in (*REAL, *MADE)]
    return "\n".join(["| File | What it is | Expected | Actual |", "|---|---|---|---|", *rows])


def recipe_tables() -> str:
    """Return what docs/recipes.json holds, as docs/models.md shows it."""
    return pages(json.loads((PROJECT / "docs" / "recipes.json").read_text(encoding="utf-8")))


def main() -> None:
    write(PROJECT / "README.md", START, END, settings_table())
    DOCUMENT.write_text(licences_document(), encoding="utf-8")
    write(PROJECT / "docs" / "models.md", RECIPES_START, RECIPES_END, "\n" + recipe_tables() + "\n")
    profile = "\n".join(["| Tag | Element | What becomes of it |", "|---|---|---|", *profile_rows()])
    write(PROJECT / "docs" / "dicom-profile.md", PROFILE_START, PROFILE_END, profile)
    folder = Path(os.environ.get("FRACTURE_DATA") or PROJECT.parent / "shared" / "data")
    if folder.is_dir():  # the real files are not part of the project
        write(PROJECT / "docs" / "dicom.md", DICOM_START, DICOM_END, dicom_table(folder))


if __name__ == "__main__":
    main()
