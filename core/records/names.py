"""Find radiographs by part of a name: their own, those they came in with again, and their submissions'.

All names of a radiograph stand folded in one column, a line each. Each database has an index of its own over every
three characters in a row of it (trigrams), which `migrations/` makes: SQLite a full-text table, PostgreSQL an inverted
index that needs no extension. Both give candidates; the column decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Select, Text, bindparam, cast, column, func, select, table, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from core.tables import Base, RadiographRow, folded

_CHARACTERS = 3
#: More of one name's trigrams leave nothing out that these keep; of the rarest so few do.
_MOST_TRIGRAMS, _TELLING = 60, 6
#: A radiograph that came in under ever new names is found by the first of them, up to this many characters.
_LONGEST = 4_000
#: What is found this often among the newest radiographs is frequent, and walking from the newest meets it soon.
_NEWEST, _OFTEN = 5_000, 50

_TABLE = table("radiograph_names", column("rowid"))


def has_name(words: str) -> ColumnElement[bool]:
    """Return the condition that a name contains these words, in upper or lower case."""
    return RadiographRow.searched.contains(folded(words), autoescape=True)


def named(session: Session, words: str) -> Select[int] | None:
    """Return the query for all radiographs with such a name, along the index; None where it knows nothing of them.

    The index knows nothing of fewer than three characters, and what is frequent is found sooner without it.
    """
    trigrams = _trigrams(words)
    if not trigrams:
        return None
    newest = session.scalars(select(RadiographRow.searched).order_by(RadiographRow.id.desc()).limit(_NEWEST)).all()
    if sum(folded(words) in names for names in newest) >= _OFTEN:
        return None
    # Trigrams that every name has leave nothing out and cost the most.
    telling = sorted(trigrams, key=lambda each: sum(each in names for names in newest))[:_TELLING]
    if session.get_bind().dialect.name == "sqlite":
        return _matching(telling)
    every = func.trigrams_of(RadiographRow.searched).op("@>")(cast(telling, ARRAY(Text)))
    return select(RadiographRow.id).where(every, has_name(words))


def named_downwards(session: Session, words: str) -> Select[int] | None:
    """Return the query for radiographs that probably have such a name, where it yields descending ids one by one.

    None where there is none: PostgreSQL's index finds all matches before it shows the first.
    """
    trigrams = _trigrams(words)
    if not trigrams or session.get_bind().dialect.name != "sqlite":
        return None
    return _matching(trigrams[:_MOST_TRIGRAMS])


def searched_lines(names: Sequence[str]) -> str:
    """Return what is searched of a radiograph with these names."""
    return "\n".join(dict.fromkeys(folded(name) for name in names if name))


def add_names(session: Session, names: Mapping[int, Sequence[str]]) -> None:
    """Let radiographs be found by these names too.

    Args:
        session: An open transaction.
        names: By the radiograph's id.
    """
    query = select(RadiographRow.id, RadiographRow.searched).where(RadiographRow.id.in_(names))
    changes = []
    for number, known in session.execute(query.order_by(RadiographRow.id)):
        lines = known.split("\n")
        further = [line for line in searched_lines(names[number]).split("\n") if line and line not in lines]
        if further and len(known) + sum(map(len, further)) < _LONGEST:
            changes.append({"number": number, "lines": "".join(f"\n{line}" for line in further)})
    if changes:
        # Added in SQL: of two that add a name at once both are kept.
        radiographs = Base.metadata.tables[RadiographRow.__tablename__]
        added = radiographs.c.searched.concat(bindparam("lines"))
        changed = update(radiographs).where(radiographs.c.id == bindparam("number")).values(searched=added)
        session.connection().execute(changed, changes)


def _trigrams(words: str) -> list[str]:
    whole = folded(words)
    return list(dict.fromkeys(whole[place : place + _CHARACTERS] for place in range(len(whole) - _CHARACTERS + 1)))


def _matching(trigrams: Sequence[str]) -> Select[int]:
    """Return SQLite's query for the rows that hold each of these, somewhere."""
    asked = " ".join('"{}"'.format(each.replace('"', '""')) for each in trigrams)
    return (
        select(_TABLE.c.rowid).select_from(_TABLE).where(text("radiograph_names MATCH :asked").bindparams(asked=asked))
    )
