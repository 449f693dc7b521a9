"""What models answered, added up by the day; indexes of refusals by their reason and of reviews by their week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """What models answered, added up by the day; indexes of refusals by their reason and of reviews by their week."""
    op.create_table(
        "tallies",
        sa.Column("id", _ID, nullable=False),
        sa.Column("model_version_id", _ID, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_version_id"], ["model_versions.id"], name=op.f("fk_tallies_model_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tallies")),
    )
    op.create_index("ix_tallies_model_version_id_day", "tallies", ["model_version_id", "day"])
    op.create_index("ix_reviews_model_created_at", "reviews", ["model", "created_at"])
    op.create_index(
        "ix_arrivals_rejected",
        "arrivals",
        ["error_code"],
        sqlite_where=sa.text("status = 'rejected'"),
        postgresql_where=sa.text("status = 'rejected'"),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_reviews_model_created_at", "reviews")
    op.drop_index("ix_arrivals_rejected", "arrivals")
    op.drop_table("tallies")
