"""`fracture-queue restore`."""

from __future__ import annotations

from pathlib import Path

import click

from cli.commands.doctor import tell
from cli.environment import actor_here, settings_here
from core.database import Database
from core.words import counted


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore(folder: Path) -> None:
    """Fill this installation, which has to be empty and at rest, from a backup; then look it over as the doctor does.

    The backup may come from SQLite or PostgreSQL and go to either. An older one is brought to this program's revision.
    Exit code 1 when the doctor finds something.

    Example: FRACTURE_HOME=/srv/new fracture-queue restore /mnt/backup/fracture-queue
    """
    from core.backup.restore import restore_backup
    from core.home import only_one, prepare_home
    from core.store import open_store
    from worker.doctor.ailments import Premises
    from worker.doctor.examination import examine

    settings = settings_here()
    prepare_home(settings)
    with only_one(settings):
        database = Database(settings.database_url)
        done = restore_backup(
            settings, database, folder.absolute(), actor_here(), lambda words: click.echo(words, err=True)
        )
        database.dispose()
    made = done.manifest
    click.echo(
        f"Restored the backup of {made.made_at}: {counted(made.rows['radiographs'], 'radiograph')}, "
        f"{counted(made.originals, 'original')}. "
        "Files that lay in inbox/ and processing/ then are not part of it: put them into the inbox again."
    )
    for note in done.notes:
        click.echo(note)
    database = Database(settings.database_url)
    premises = Premises(settings, database, open_store(settings), actor_here(), deep=True)
    well = True
    for verdict in examine(premises, fix=False):
        tell(verdict, fix=False)
        well = well and verdict.well
    if not well:
        raise SystemExit(1)
