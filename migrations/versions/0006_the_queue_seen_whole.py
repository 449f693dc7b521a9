"""What heartbeats say more, pauses, and what each minute brought."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_OF_WORKERS = (
    ("born", sa.BigInteger()),
    ("main", sa.String(length=128)),
    ("model", sa.String(length=200)),
    ("idle_since", _TIME),
    ("turned_at", _TIME),
    ("connected", sa.Boolean()),
    ("prefetched", sa.Integer()),
    ("children", sa.JSON()),
)


def upgrade() -> None:
    """What heartbeats say more, pauses, and what each minute brought."""
    op.add_column("workers", sa.Column("place", sa.String(length=64), nullable=False, server_default=""))
    for name, kind in _OF_WORKERS:
        op.add_column("workers", sa.Column(name, kind, nullable=True))
    op.create_table(
        "controls",
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("paused_at", _TIME, nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_controls")),
    )
    op.create_table(
        "minutes",
        sa.Column("minute", _TIME, nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("minute", name=op.f("pk_minutes")),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("minutes")
    op.drop_table("controls")
    for name in (*(name for name, _ in reversed(_OF_WORKERS)), "place"):
        op.drop_column("workers", name)
