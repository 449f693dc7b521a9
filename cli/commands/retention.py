"""`fracture-queue retention`."""

from __future__ import annotations

import click

from cli.environment import actor_here, installation_here
from core.errors import StoreUnavailable
from core.words import counted


@click.command()
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(1, 36_500),
    required=True,
    metavar="DAYS",
    help="How long originals are kept, from the last time that they came in.",
)
@click.option("--yes/--dry-run", "really", default=False, help="Delete; by default it only says what would be deleted.")
def retention(days: int, really: bool) -> None:
    """Delete originals from the store and keep answers, reviews and rows.

    Radiographs with unfinished work keep theirs. The same file sent in again brings its original back. The audit trail
    names each. Files in done/ and failed/ are yours, and are left alone.

    Example: fracture-queue retention --older-than 90 --yes
    """
    from core.retention import count_expired, delete_expired
    from core.store import open_store

    settings, database = installation_here()
    with database.reading() as session:
        expired = count_expired(session, days)
    if not really:
        click.echo(
            f"{_words(expired.files, expired.bytes)} older than {counted(days, 'day')} would be deleted; --yes does it."
        )
        return
    files = size = 0
    try:
        for deleted in delete_expired(database, open_store(settings), days, actor_here()):
            files, size = files + deleted.files, size + deleted.bytes
    except OSError as error:
        raise StoreUnavailable(
            f"An original cannot be deleted: {error.strerror}. `fracture-queue doctor --fix` deletes it later."
        ) from error
    click.echo(f"{_words(files, size)} older than {counted(days, 'day')} deleted.")


def _words(files: int, size: int) -> str:
    return f"{counted(files, 'original')} ({size / 2**20:.1f} MiB)"
