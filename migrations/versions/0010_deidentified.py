"""What is stored may differ from what came: de-identified DICOM; what its header says; which files came in together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WHERE = sa.text("stored_sha256 IS NOT NULL")


def upgrade() -> None:
    """New columns are empty for everything that is there: it is stored as it came, and none of it is DICOM."""
    op.add_column("radiographs", sa.Column("stored_sha256", sa.String(length=64), nullable=True))
    op.add_column("radiographs", sa.Column("stored_bytes", sa.BigInteger(), nullable=True))
    op.add_column("radiographs", sa.Column("patient_key", sa.String(length=32), nullable=True))
    op.add_column("radiographs", sa.Column("about", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("arrivals", sa.Column("came_with", sa.String(length=40), nullable=True))
    op.create_index(
        "ix_arrivals_came_with",
        "arrivals",
        ["came_with"],
        sqlite_where=sa.text("came_with IS NOT NULL"),
        postgresql_where=sa.text("came_with IS NOT NULL"),
    )
    op.create_index(
        "ix_radiographs_stored_sha256",
        "radiographs",
        ["stored_sha256"],
        sqlite_where=_WHERE,
        postgresql_where=_WHERE,
    )


def downgrade() -> None:
    """Undo it; de-identified originals stay in the store under names that nothing knows any more."""
    op.drop_index("ix_arrivals_came_with", "arrivals")
    op.drop_column("arrivals", "came_with")
    op.drop_index("ix_radiographs_stored_sha256", "radiographs")
    for column in ("about", "patient_key", "stored_bytes", "stored_sha256"):
        op.drop_column("radiographs", column)
