"""When a radiograph's original was deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """When a radiograph's original was deleted."""
    op.add_column("radiographs", sa.Column("original_deleted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("radiographs", "original_deleted_at")
