"""A report as plain text, as Markdown or as one HTML page. The latter two carry their pictures inside."""

from __future__ import annotations

import base64
from html import escape

from training.report import STATEMENT, Picture, Report, Section, Table

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #c9ced6; --soft: #f3f5f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14171c; --line: #3a414c; --soft: #1e232b; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.statement { border: 2px solid #b3541e; padding: .6rem .9rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--soft); }
img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
"""


def as_text(report: Report) -> str:
    """Write a report for a terminal; pictures are left out."""
    lines = [report.title, STATEMENT, *report.sentences]
    for section in report.sections:
        if section.picture is not None:
            continue
        lines += ["", f"{section.title}.", *section.sentences]
        if section.table is not None:
            lines += _aligned(section.table)
    return "\n".join(lines) + "\n"


def as_markdown(report: Report) -> str:
    """Write a report as Markdown; its pictures are data URIs."""
    lines = [f"# {_plain(report.title)}", "", f"**{STATEMENT}**", "", *map(_plain, report.sentences)]
    for section in report.sections:
        lines += ["", f"## {_plain(section.title)}", "", *map(_plain, section.sentences)]
        if section.table is not None:
            lines += ["", markdown_table(section.table)]
        if section.picture is not None:
            lines += ["", f"![{_plain(section.picture.words)}]({_data_uri(section.picture)})"]
    return "\n".join(lines) + "\n"


def as_html(report: Report) -> str:
    """Write a report as one page that loads nothing from elsewhere."""
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f'<h1>{escape(report.title)}</h1>\n<p class="statement">{escape(STATEMENT)}</p>',
        *(f"<p>{escape(sentence)}</p>" for sentence in report.sentences),
        *(_html_section(section) for section in report.sections),
        "</main>\n</body>\n</html>",
    ]
    return "\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Write a table as Markdown; numbers to the right."""
    rows = [
        "| " + " | ".join(map(_plain, table.head)) + " |",
        "| --- |" + " ---: |" * (len(table.head) - 1),
        *("| " + " | ".join(map(_plain, row)) + " |" for row in table.rows),
    ]
    return "\n".join(rows)


def _aligned(table: Table) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(table.head, *table.rows, strict=True)]
    lines = []
    for row in (table.head, *table.rows):
        first, *rest = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return lines


def _html_section(section: Section) -> str:
    parts = [f"<section>\n<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(words)}</p>" for words in section.sentences]
    if section.table is not None:
        parts.append(_html_table(section.table))
    if section.picture is not None:
        parts.append(f'<img src="{_data_uri(section.picture)}" alt="{escape(section.picture.words)}">')
    return "\n".join([*parts, "</section>"])


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    lines = ['<div class="wide"><table>', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for first, *rest in table.rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody>", "</table></div>"])


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"


def _plain(words: str) -> str:
    """Keep a table's cell or a line of text from meaning anything in Markdown or HTML."""
    for sign in ("\\", "|", "<", "*", "_", "`", "["):
        words = words.replace(sign, f"\\{sign}")
    return words.replace("\n", " ")
