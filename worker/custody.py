"""Where the inbox's files are while their work lasts, and how they leave: the one room that touches them.

    inbox/NAME -> processing/CLAIM/NAME -> done/NAME or failed/NAME with NAME.reason.txt

`Processing` moves them as drawn; `worker.in_place.InPlace`, for an inbox that cannot be written, leaves them where they
are. `worker.inbox` knows a file by its claim alone, which is a unique key of its arrival.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from core.settings import Settings
from worker.emptied import Emptied
from worker.moving import UNFINISHED, is_copy, move, move_aside, remove_empty
from worker.settling import Look
from worker.sidecars import KEPT_AS, leave_with, sidecar_of


class Custody(Protocol):
    """What the inbox asks for."""

    def recover(self) -> list[str]:
        """Tidy up after a crash; return the claims of an earlier process, recorded or not."""

    def is_new(self, path: Path) -> bool:
        """Whether a file in the inbox has not been taken as it is now."""

    def scanned(self) -> None:
        """Hear that `is_new` was asked about everything in the inbox."""

    def tidy(self, now: float) -> None:
        """Remove folders of the inbox that taking their files has emptied; `now`: of the monotonic clock."""

    def pass_over(self, path: Path, look: Look) -> None:
        """Remember that a file is not taken by itself."""

    def claim(self, path: Path, look: Look) -> tuple[str, Look]:
        """Take a file; return its claim, and how it looks now.

        Raises:
            OSError: It cannot be taken; it is where it was.
        """

    def file_of(self, claim: str) -> tuple[Path, Path] | None:
        """Return where a claimed file lies, and the path that it had below the inbox; None: it is gone."""

    def sidecar_of(self, claim: str) -> Path | None:
        """Return the sidecar that was taken with a file."""

    def take_sidecar(self, claim: str, path: Path) -> Path | None:
        """Take the sidecar that lies beside `path`, where its file was, and return it."""

    def let_go(self, claim: str) -> bool:
        """Give a claim up whose file was changed by its writer; False: it is kept until the file is whole."""

    def forget(self, claim: str) -> None:
        """Remove what is left of a claim whose file is gone, put away or not. Safe to call from several threads."""

    def put_away(self, claim: str, *, failed: bool, answer: Callable[[Path], object] | None = None) -> None:
        """Let a file whose work has ended leave; what is then left of its claim is for `forget` to remove.

        Args:
            claim: Its claim.
            failed: It goes to `failed/`, else to `done/`.
            answer: Writes what belongs beside the file's new place, before it leaves; again after a crash.

        Raises:
            OSError: It cannot; call again.
        """

    def waits_below(self, folder: str, unrecorded: Collection[str]) -> bool:
        """Whether files of a folder of the inbox wait to be taken, or are claimed and in hand."""


class Processing:
    """Files leave the inbox by rename as soon as they are taken; each has a folder of its own below `processing/`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._processing = settings, settings.processing
        self._emptied = Emptied(settings.inbox, settings.settle_seconds)

    def recover(self) -> list[str]:
        """Remove what a crash left of copies from another file system."""
        for folder in (self._processing, self._settings.done, self._settings.failed):
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        with os.scandir(self._processing) as entries:
            claims = sorted(entry.name for entry in entries if entry.is_dir())
        for claim in claims:
            _remove_unfinished(self._processing / claim)
        self._emptied.recover(self._settings.done, self._settings.failed)
        return claims

    def finish_copy(self, claim: str) -> bool:
        """End what a crash left between copying from another file system and removing the source.

        Returns:
            Whether the claim is gone: its file is still in the inbox, from which it is taken anew.
        """
        found = self.file_of(claim)
        if found is None:
            return False
        path, relative = found
        source = self._settings.inbox / relative
        if is_copy(path, source):
            path.unlink()
            remove_empty(path.parent, self._processing)
            return True
        sidecar, kept = sidecar_of(source), self.sidecar_of(claim)
        if sidecar is not None and kept is not None and is_copy(kept, sidecar):
            sidecar.unlink()
        return False

    def is_new(self, path: Path) -> bool:  # noqa: ARG002 - what was taken is not here any more
        """Every file is."""
        return True

    def scanned(self) -> None:
        """Nothing is remembered."""

    def tidy(self, now: float) -> None:
        """As `Emptied` says."""
        self._emptied.tidy(now)

    def pass_over(self, path: Path, look: Look) -> None:
        """Nothing is remembered."""

    def claim(self, path: Path, look: Look) -> tuple[str, Look]:  # noqa: ARG002 - it may have changed by now
        """Rename it."""
        claim = secrets.token_hex(8)
        target = self._processing / claim / path.relative_to(self._settings.inbox)
        target.parent.mkdir(parents=True)
        try:
            move(path, target, below=self._processing)
        except OSError:
            remove_empty(target.parent, self._processing)
            raise
        self.take_sidecar(claim, path)
        self._emptied.note(path.parent)
        return claim, Look.at(target)

    def file_of(self, claim: str) -> tuple[Path, Path] | None:
        """Look for it in the claim's folder."""
        folder = self._processing / claim
        path = file_below(folder)
        return None if path is None else (path, path.relative_to(folder))

    def sidecar_of(self, claim: str) -> Path | None:
        """It lies in the claim's folder."""
        kept = self._processing / claim / KEPT_AS
        return kept if kept.exists() else None

    def take_sidecar(self, claim: str, path: Path) -> Path | None:
        """Move it into the claim's folder."""
        sidecar, kept = sidecar_of(path), self._processing / claim / KEPT_AS
        if sidecar is None:
            return None
        with suppress(OSError):  # left behind, it is a file without its file
            move(sidecar, kept, below=self._processing)
            return kept
        return None

    def let_go(self, claim: str) -> bool:  # noqa: ARG002 - see the protocol
        """A rename does not stop a writer: its file becomes whole in `processing/`."""
        return False

    def forget(self, claim: str) -> None:
        """Remove the claim's empty folder."""
        _remove_empty_tree(self._processing / claim)

    def put_away(self, claim: str, *, failed: bool, answer: Callable[[Path], object] | None = None) -> None:
        """Move it to `done/` or `failed/`, or delete it where that is set."""
        settings, folder = self._settings, self._processing / claim
        found = self.file_of(claim)
        if found is None:
            # A crash came between the file's leaving and its sidecar's, whose name is not known any more.
            leave_with(folder, settings.done / claim, settings.failed, Path(claim))
            self.forget(claim)
            return
        path, relative = found
        if settings.inbox_done == "delete" and not failed:
            target = settings.done / relative
            if answer:
                target.parent.mkdir(parents=True, exist_ok=True)
                answer(target)
            else:
                (folder / KEPT_AS).unlink(missing_ok=True)
            path.unlink()
        else:
            target = move_aside(path, settings.failed if failed else settings.done, relative, before_leaving=answer)
        leave_with(folder, target, settings.failed, relative)

    def waits_below(self, folder: str, unrecorded: Collection[str]) -> bool:  # noqa: ARG002 - they lie in processing/
        """Look for it in the inbox and in `processing/`."""
        claimed = any((claim / folder).is_dir() for claim in self._processing.iterdir())
        waiting = (self._settings.inbox / folder).rglob("*")
        return claimed or any(path.is_file() and not path.name.startswith(".") for path in waiting)


def file_below(folder: Path) -> Path | None:
    """Return the one file that a claim's folder holds; hidden ones are copies in the making, see `move`."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(folder / entry.name)
                elif not entry.name.startswith("."):
                    return folder / entry.name
    except OSError:
        return None
    return next((found for below in folders if (found := file_below(below))), None)


def _remove_unfinished(folder: Path) -> None:
    """Remove what a crash left of a copy from another file system; its source is still in the inbox."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name != KEPT_AS:
                Path(parent, name).unlink(missing_ok=True)


def _remove_empty_tree(folder: Path) -> None:
    """Remove a folder and those below it, as far as they are empty; one that is gone is no matter."""
    with suppress(OSError):
        folder.rmdir()  # nearly always all that there is to do
        return
    for parent, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(parent).rmdir()
