"""Runs the SQL of a revision as it is written, many statements at once."""

from __future__ import annotations

from alembic import op


def run_sql(text: str) -> None:
    """Neither colons nor percent signs mean anything to the driver here."""
    op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
