"""The peer's one table; apart from its task, whose module is bound to one broker and one database once imported."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, String, Table

tables = MetaData()
answers = Table(
    "answers",
    tables,
    Column("id", Integer, primary_key=True),
    Column("path", String),
    Column("label", String),
    Column("confidence", Float),
    Column("stored_at", Float),
)
