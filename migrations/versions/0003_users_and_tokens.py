"""People who sign in, and keys to the API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import core.tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROLES = ("viewer", "reviewer", "admin")


def upgrade() -> None:
    """People who sign in, and keys to the API."""
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.Enum(*_ROLES, name="role", native_enum=False, length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", core.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", core.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("sessions_from", core.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.Enum(*_ROLES, name="role", native_enum=False, length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", core.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", core.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", core.tables.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )


def downgrade() -> None:
    """Undo it; everybody who could sign in is forgotten."""
    op.drop_table("tokens")
    op.drop_table("users")
