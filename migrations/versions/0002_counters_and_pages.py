"""Counters kept by triggers, and indexes along which pages of results are walked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: The tables whose rows are counted by status, and what those may be.
_COUNTED = {
    "jobs": ("waiting", "running", "done", "failed", "quarantined", "cancelled"),
    "arrivals": ("accepted", "rejected"),
}

_POSTGRESQL_FUNCTION = """
CREATE FUNCTION count_by_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO counters (name, change)
        SELECT TG_TABLE_NAME || ' ' || status, count(*) FROM new_rows GROUP BY status;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO counters (name, change)
        SELECT TG_TABLE_NAME || ' ' || status, -count(*) FROM old_rows GROUP BY status;
    ELSE
        INSERT INTO counters (name, change)
        SELECT TG_TABLE_NAME || ' ' || status, sum(change)
        FROM (SELECT status, 1 AS change FROM new_rows UNION ALL SELECT status, -1 FROM old_rows) AS changes
        GROUP BY status HAVING sum(change) <> 0;
    END IF;
    RETURN NULL;
END $$
"""
_POSTGRESQL_TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
}
_SQLITE_TRIGGERS = {
    "INSERT": ("INSERT", "1", ("+ 1", "NEW")),
    "UPDATE": ("UPDATE OF status", "OLD.status <> NEW.status", ("+ 1", "NEW"), ("- 1", "OLD")),
    "DELETE": ("DELETE", "1", ("- 1", "OLD")),
}


def upgrade() -> None:
    """Counters kept by triggers, and indexes along which pages of results are walked."""
    op.create_table(
        "counters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_counters")),
    )
    for table, statuses in _COUNTED.items():
        for status in statuses:
            name = f"{table} {status}"
            op.execute(
                f"INSERT INTO counters (name, change) SELECT '{name}', count(*) FROM {table} WHERE status = '{status}'"  # noqa: S608  constants
            )
    if op.get_bind().dialect.name == "sqlite":
        _make_sqlite_triggers()
    else:
        op.execute(_POSTGRESQL_FUNCTION)
        for table in _COUNTED:
            for event, rows in _POSTGRESQL_TRIGGERS.items():
                op.execute(
                    f"CREATE TRIGGER {_trigger(table, event)} AFTER {event} ON {table} {rows} "
                    "FOR EACH STATEMENT EXECUTE FUNCTION count_by_status()"
                )
    op.drop_index("ix_predictions_label", "predictions")
    op.create_index("ix_predictions_label", "predictions", ["model_version_id", "label", "radiograph_id", "confidence"])
    op.create_index(
        "ix_predictions_label_confidence", "predictions", ["model_version_id", "label", "confidence", "radiograph_id"]
    )
    op.create_index("ix_predictions_confidence", "predictions", ["model_version_id", "confidence", "radiograph_id"])
    op.create_index("ix_radiographs_source", "radiographs", ["source", "id"])
    op.create_index("ix_jobs_results", "jobs", ["model_version_id", "status", "radiograph_id"])
    op.create_index("ix_jobs_status_created", "jobs", ["status", "created_at"])
    op.create_index("ix_jobs_status_finished", "jobs", ["status", "finished_at"])


def downgrade() -> None:
    """Undo it."""
    for index, table in (
        ("ix_jobs_status_finished", "jobs"),
        ("ix_jobs_status_created", "jobs"),
        ("ix_jobs_results", "jobs"),
        ("ix_radiographs_source", "radiographs"),
        ("ix_predictions_confidence", "predictions"),
        ("ix_predictions_label_confidence", "predictions"),
        ("ix_predictions_label", "predictions"),
    ):
        op.drop_index(index, table)
    op.create_index("ix_predictions_label", "predictions", ["model_version_id", "label", "confidence"])
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _COUNTED:
        for event in _POSTGRESQL_TRIGGERS:
            op.execute(f"DROP TRIGGER {_trigger(table, event)}" + ("" if on_sqlite else f" ON {table}"))
    if not on_sqlite:
        op.execute("DROP FUNCTION count_by_status()")
    op.drop_table("counters")


def _make_sqlite_triggers() -> None:
    for table in _COUNTED:
        for event, (occasion, condition, *changes) in _SQLITE_TRIGGERS.items():
            steps = " ".join(
                f"UPDATE counters SET change = change {change} WHERE name = '{table} ' || {row}.status;"  # noqa: S608  constants
                for change, row in changes
            )
            op.execute(
                f"CREATE TRIGGER {_trigger(table, event)} AFTER {occasion} ON {table} WHEN {condition} "
                f"BEGIN {steps} END"
            )


def _trigger(table: str, event: str) -> str:
    return f"{table}_counted_on_{event.lower()}"
