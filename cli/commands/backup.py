"""`fracture-queue backup`."""

from __future__ import annotations

from pathlib import Path

import click

from cli.environment import installation_here
from core.words import counted


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def backup(folder: Path) -> None:
    """Copy the database, the originals, the models and the keys into FOLDER, while everything runs.

    A second backup into the same folder copies only what is new and takes the place of the first; what `retention`
    deleted goes from it too. What lies in inbox/ and processing/ is not part of it. Keep FOLDER private: it holds
    radiographs.

    Example: fracture-queue backup /mnt/backup/fracture-queue
    """
    from core.backup.make import make_backup

    settings, database = installation_here()
    made = make_backup(settings, database, folder.absolute(), lambda words: click.echo(words, err=True))
    click.echo(
        f"{folder}: {counted(made.rows['radiographs'], 'radiograph')}, {counted(made.originals, 'original')} "
        f"({made.original_bytes / 2**20:.1f} MiB), {counted(len(made.bundles), 'model')}, revision {made.revision}."
    )
    if made.missing_originals:
        click.echo(
            f"{counted(made.missing_originals, 'original is', 'originals are')} missing from the store or altered, and "
            "so from the backup; `fracture-queue doctor --deep` says which.",
            err=True,
        )
        raise SystemExit(1)
