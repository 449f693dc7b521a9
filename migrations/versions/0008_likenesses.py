"""The same radiograph in another dress: hashes to look it up by, and what was found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNSEEN = sa.text("looked_at IS NULL")


def upgrade() -> None:
    """The same radiograph in another dress: hashes to look it up by, and what was found."""
    op.create_table(
        "likenesses",
        sa.Column("radiograph_id", _ID, nullable=False, autoincrement=False),
        *(sa.Column(f"band_{place}", sa.Integer(), nullable=False) for place in range(4)),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["radiograph_id"], ["radiographs.id"], name=op.f("fk_likenesses_radiograph_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("radiograph_id", name=op.f("pk_likenesses")),
    )
    for place in range(4):
        op.create_index(f"ix_likenesses_band_{place}", "likenesses", [f"band_{place}", "radiograph_id"])
    op.create_index(
        "ix_likenesses_unseen", "likenesses", ["radiograph_id"], sqlite_where=_UNSEEN, postgresql_where=_UNSEEN
    )
    op.create_table(
        "look_alikes",
        sa.Column("radiograph_id", _ID, nullable=False, autoincrement=False),
        sa.Column("other_id", _ID, nullable=False, autoincrement=False),
        sa.Column("distance", sa.Integer(), nullable=False),
        sa.Column("likeness", sa.Float(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["radiograph_id"], ["radiographs.id"], name=op.f("fk_look_alikes_radiograph_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["other_id"], ["radiographs.id"], name=op.f("fk_look_alikes_other_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("radiograph_id", "other_id", name=op.f("pk_look_alikes")),
    )
    op.create_index(op.f("ix_look_alikes_other_id"), "look_alikes", ["other_id"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("look_alikes")
    op.drop_table("likenesses")
