"""Names that are searched along an index, on each database its own; keys of requests that may be sent again."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAMED = sa.text("name <> ''")
#: Rows whose names are folded here rather than in SQL, which knows other alphabets on some installations only.
_AT_ONCE = 1_000

_SQLITE_INDEX = """
CREATE VIRTUAL TABLE radiograph_names USING fts5(
    searched, content='radiographs', content_rowid='id', tokenize='trigram case_sensitive 1', detail=none, columnsize=0
)
"""
_SQLITE_ADD = "INSERT INTO radiograph_names (rowid, searched) VALUES (NEW.id, NEW.searched);"
_SQLITE_REMOVE = (
    "INSERT INTO radiograph_names (radiograph_names, rowid, searched) VALUES ('delete', OLD.id, OLD.searched);"
)
# Whoever makes the table anew (a batch operation of Alembic) has to make these anew too.
_SQLITE_TRIGGERS = {
    "insert": ("INSERT", _SQLITE_ADD),
    "update": ("UPDATE OF searched", f"{_SQLITE_REMOVE} {_SQLITE_ADD}"),
    "delete": ("DELETE", _SQLITE_REMOVE),
}

# A loop takes a sixth of the time of a query over generate_series; it runs for every row that is written.
_POSTGRESQL_FUNCTION = """
CREATE FUNCTION trigrams_of(words text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    found text[] := '{}';
BEGIN
    FOR place IN 1 .. length(words) - 2 LOOP
        found := found || substr(words, place, 3);
    END LOOP;
    RETURN found;
END $$
"""


def upgrade() -> None:
    """Names that are searched along an index, on each database its own; keys of requests that may be sent again."""
    op.create_index("ix_submissions_named", "submissions", ["id"], sqlite_where=_NAMED, postgresql_where=_NAMED)
    op.add_column("radiographs", sa.Column("searched", sa.Text(), nullable=False, server_default=""))
    _fill()
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE_INDEX)
        op.execute("INSERT INTO radiograph_names (radiograph_names) VALUES ('rebuild')")
        for name, (occasion, steps) in _SQLITE_TRIGGERS.items():
            op.execute(f"CREATE TRIGGER radiograph_names_{name} AFTER {occasion} ON radiographs BEGIN {steps} END")
    else:
        op.execute(_POSTGRESQL_FUNCTION)
        op.execute("CREATE INDEX ix_radiographs_names ON radiographs USING gin (trigrams_of(searched))")
    op.create_table(
        "idempotency_keys",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner", sa.String(length=160), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded", sa.JSON(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("owner", "key", name=op.f("uq_idempotency_keys_owner_key")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    """Undo it."""
    op.drop_table("idempotency_keys")
    if op.get_bind().dialect.name == "sqlite":
        for name in _SQLITE_TRIGGERS:
            op.execute(f"DROP TRIGGER radiograph_names_{name}")
        op.execute("DROP TABLE radiograph_names")
    else:
        op.drop_index("ix_radiographs_names", "radiographs")
        op.execute("DROP FUNCTION trigrams_of(text)")
    op.drop_column("radiographs", "searched")
    op.drop_index("ix_submissions_named", "submissions")


def _fill() -> None:
    """Write what is searched of the radiographs that are there; `core.records.names` does the same for new ones."""
    connection, after = op.get_bind(), 0
    connection.execute(sa.text("UPDATE radiographs SET searched = lower(name)"))
    # SQL folds the letters of other alphabets on some installations only.
    strange = "name GLOB '*[^ -~]*'" if connection.dialect.name == "sqlite" else "name ~ '[^ -~]'"
    query = sa.text(f"SELECT id, name FROM radiographs WHERE id > :after AND {strange} ORDER BY id LIMIT :most")  # noqa: S608  constants
    while rows := connection.execute(query, {"after": after, "most": _AT_ONCE}).all():
        folded = [{"id": row.id, "name": _folded(row.name)} for row in rows]
        connection.execute(sa.text("UPDATE radiographs SET searched = :name WHERE id = :id"), folded)
        after = rows[-1].id
    named = connection.execute(sa.text("SELECT id, name FROM submissions WHERE name <> ''")).all()
    if named:
        connection.execute(
            sa.text(
                "UPDATE radiographs SET searched = searched || :line WHERE id IN (SELECT link.radiograph_id"
                " FROM arrivals JOIN arrival_radiographs AS link ON link.arrival_id = arrivals.id"
                " WHERE arrivals.submission_id = :id)"
            ),
            [{"id": row.id, "line": "\n" + _folded(row.name)} for row in named],
        )


def _folded(words: str) -> str:
    return unicodedata.normalize("NFC", words).casefold()
