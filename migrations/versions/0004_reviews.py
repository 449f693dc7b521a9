"""Reviews: what people said of radiographs, and which word stands; activation maps beside predictions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KIND = sa.Enum("labelled", "unsure", "withdrawn", name="reviewkind", native_enum=False, length=16)
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Reviews: what people said of radiographs, and which word stands; activation maps beside predictions."""
    op.add_column("predictions", sa.Column("activation", sa.LargeBinary(), nullable=True))
    op.create_table(
        "reviews",
        sa.Column("id", _ID, nullable=False),
        sa.Column("radiograph_id", _ID, nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(length=128), nullable=False),
        sa.Column("kind", _KIND, nullable=False),
        sa.Column("label", sa.String(length=64), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("shown", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["radiograph_id"], ["radiographs.id"], name=op.f("fk_reviews_radiograph_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index("ix_reviews_radiograph_id", "reviews", ["radiograph_id"])
    op.create_index("ix_reviews_reviewer", "reviews", ["reviewer", "id"])
    op.create_table(
        "readings",
        sa.Column("radiograph_id", _ID, nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("review_id", _ID, nullable=False),
        sa.Column("reviewer", sa.String(length=128), nullable=False),
        sa.Column("kind", _KIND, nullable=False),
        sa.Column("label", sa.String(length=64), nullable=True),
        sa.Column("agreed", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["radiograph_id"], ["radiographs.id"], name=op.f("fk_readings_radiograph_id")),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_readings_review_id")),
        sa.PrimaryKeyConstraint("radiograph_id", "reading", name=op.f("pk_readings")),
    )
    op.create_index("ix_readings_agreed", "readings", ["reading", "agreed", "radiograph_id"])


def downgrade() -> None:
    """Undo it."""
    op.drop_table("readings")
    op.drop_table("reviews")
    op.drop_column("predictions", "activation")
