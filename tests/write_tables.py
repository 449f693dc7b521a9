"""`make docs`: write the tables that tests compare into the documents."""

from __future__ import annotations

import re

from core.settings_table import settings_table
from tests.conftest import PROJECT
from tests.licences import DOCUMENT, licences_document

START, END = "<!-- settings: written by `make docs` -->", "<!-- end of settings -->"


def main() -> None:
    readme = PROJECT / "README.md"
    text = readme.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    readme.write_text(pattern.sub(lambda _: f"{START}\n{settings_table()}\n{END}", text), encoding="utf-8")
    DOCUMENT.write_text(licences_document(), encoding="utf-8")


if __name__ == "__main__":
    main()
