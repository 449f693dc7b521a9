"""The command `fracture-queue`: groups loaded when they are used, and one place that turns errors into sentences."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from cli.output import give_up_output, spare_nobody_a_character
from core.errors import AccountRefused, BackupRefused, ConfigurationError, FractureError, ModelError, NotFound

#: Command to the module that defines it, and one line for `--help`, so that listing loads none of them.
COMMANDS = {
    "up": "Run everything on this machine.",
    "worker": "Run the processes that classify.",
    "inbox": "Run the process that watches the inbox.",
    "web": "Run the page and the JSON API.",
    "beat": "Run the clock that looks for lost work.",
    "dicom": "Run the receiver of DICOM images.",
    "submit": "Send files or folders to the queue.",
    "classify": "Ask a model about files at once, without queue or database.",
    "explain": "Say what the queue would make of a file, touching nothing.",
    "results": "List stored results.",
    "dicom-result": "Write what was answered to a DICOM object as a report or JSON.",
    "export": "Write reviewed radiographs and their labels as data to train on.",
    "queue": "Show what waits, runs and has ended.",
    "retry": "Send failed work back to the queue.",
    "cancel": "Take waiting work back.",
    "pause": "Pause the intake or the workers.",
    "resume": "End a pause.",
    "priority": "Set how urgent a submission is.",
    "models": "List, activate, deactivate and import models.",
    "check": "Look over the installation and say what is wrong.",
    "health": "Say whether a process of this machine lives.",
    "doctor": "Find what is stuck, lost or damaged, and mend it.",
    "selftest": "Send known images through a temporary installation and check the answers.",
    "user": "Add people who may sign in, change and disable them.",
    "token": "Make and revoke keys to the API for programs.",
    "backup": "Copy the database, the originals and the models into a folder.",
    "restore": "Fill an empty installation from a backup.",
    "retention": "Delete originals older than some days; answers stay.",
    "support-bundle": "Collect facts for whoever helps, without names and pictures.",
    "migrate": "Bring the database's tables to this program's revision.",
    "train": "Train a model with one of the recipes.",
    "ensemble": "Average the networks of several training runs.",
    "evaluate": "Measure a model on a data set.",
    "publish": "Turn a training run into a model bundle.",
    "bench": "Measure how fast this machine is.",
}


#: Ours to say, the user's to mend: exit code 2, like click's own complaints.
_WRONG_USE = (AccountRefused, BackupRefused, ConfigurationError, ModelError, NotFound)

#: What a machine says of itself, and no defect of ours.
_CIRCUMSTANCES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
)


class LazyGroup(click.Group):
    """Imports a command's module when the command is used: `results` does not import TensorFlow."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, in the order above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"cli.commands.{module}"), module)
        if not isinstance(command, click.Command):
            raise TypeError(f"cli.commands.{module}.{module} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("fracture-queue"), prog_name="fracture-queue")
def fracture_queue() -> None:
    """Classify bone-fracture radiographs in the background and keep every answer for review.

    Research and education only, never diagnosis. Settings are environment variables; the README lists them.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one sentence on standard error, never a traceback.

    Exit codes: 0 fine, 1 the job failed, 2 wrong use or configuration, 130 interrupted.
    """
    spare_nobody_a_character()
    try:
        code = fracture_queue.main(args=arguments, prog_name="fracture-queue", standalone_mode=False)
        sys.stdout.flush()  # here, where a disk that is full is still told in a sentence
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    except FractureError as error:
        click.echo(f"fracture-queue: {error}", err=True)
        code = 2 if isinstance(error, _WRONG_USE) else 1
    except BrokenPipeError:
        # The reader (`| head`) has gone; Python would complain once more while closing standard output.
        give_up_output()
        code = 0
    except UnicodeEncodeError as error:
        # A terminal of another encoding, or a slip: file names may hold such bytes, what is looked for may not.
        click.echo(f"fracture-queue: {error.object!r} is no text in UTF-8.", err=True)
        code = 2
    except OSError as error:
        if error.errno not in _CIRCUMSTANCES:
            raise
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"fracture-queue: {place}{error.strerror}.", err=True)
        give_up_output()
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
