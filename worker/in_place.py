"""An inbox that cannot be written: files stay where they are, and the database remembers which were taken.

A file's claim is a keyed hash of its path, size and time. So the arrival itself is the memory: after a restart a file
is known by its claim, and one that was changed, or replaced under the same name, has another and is a new arrival.
`done/` and `failed/`, in the home folder, hold only what is written about files: reasons and summaries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from core.pseudonyms import Pseudonyms
from core.settings import Settings
from worker.custody import Processing
from worker.moving import write_reason
from worker.settling import Look, is_ignored
from worker.sidecars import BadSidecar, read_sidecar, sidecar_of


class InPlace:
    """Remembers what was taken; see `worker.custody.Custody`."""

    def __init__(self, settings: Settings, pseudonyms: Pseudonyms) -> None:
        self._settings, self._pseudonyms = settings, pseudonyms
        self._before = Processing(settings)  # what was taken while the inbox could still be written ends as it began
        self._files: dict[str, Path] = {}  # by claim
        self._taken: dict[Path, Look] = {}
        self._seen: set[Path] = set()  # in the scan that is under way

    def recover(self) -> list[str]:
        """Nothing of its own: what was taken and not recorded still lies in the inbox."""
        return self._before.recover()

    def is_new(self, path: Path) -> bool:
        """Whether it was not taken yet, or looks otherwise than then."""
        self._seen.add(path)
        taken = self._taken.get(path)
        try:
            return taken is None or Look.of(path.lstat()) != taken
        except OSError:
            return True

    def scanned(self) -> None:
        """Forget files that are gone."""
        gone = {path for path in self._taken if path not in self._seen}
        if gone:
            self._taken = {path: look for path, look in self._taken.items() if path not in gone}
            self._files = {claim: path for claim, path in self._files.items() if path not in gone}
        self._seen = set()

    def tidy(self, now: float) -> None:
        """Nothing of the inbox is ours."""

    def pass_over(self, path: Path, look: Look) -> None:
        """Look at it again only when it was changed."""
        self._taken[path] = look

    def claim(self, path: Path, look: Look) -> tuple[str, Look]:
        """Remember it."""
        relative = path.relative_to(self._settings.inbox).as_posix()
        claim = self._pseudonyms.file_in_place(relative, look.size, look.modified_ns)
        self._files[claim], self._taken[path] = path, look
        return claim, look

    def file_of(self, claim: str) -> tuple[Path, Path] | None:
        """Return where it was seen."""
        path = self._files.get(claim)
        if path is None:
            return self._before.file_of(claim)
        return (path, path.relative_to(self._settings.inbox)) if path.is_file() else None

    def sidecar_of(self, claim: str) -> Path | None:
        """It lies beside its file."""
        path = self._files.get(claim)
        return self._before.sidecar_of(claim) if path is None else sidecar_of(path)

    def take_sidecar(self, claim: str, path: Path) -> Path | None:  # noqa: ARG002 - see the protocol
        """It stays beside its file."""
        return None

    def let_go(self, claim: str) -> bool:
        """Forget it: as it is now it is another file."""
        path = self._files.pop(claim, None)
        if path is not None:
            self._taken.pop(path, None)
        return path is not None

    def forget(self, claim: str) -> None:
        """Nothing is left of it."""
        if not self.let_go(claim):
            self._before.forget(claim)

    def put_away(self, claim: str, *, failed: bool, answer: Callable[[Path], object] | None = None) -> None:
        """Write down what is to be said of it."""
        path = self._files.get(claim)
        if path is None:
            self._before.put_away(claim, failed=failed, answer=answer)
            return
        relative = path.relative_to(self._settings.inbox)
        if answer:
            target = (self._settings.failed if failed else self._settings.done) / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            answer(target)
        sidecar = sidecar_of(path)
        if sidecar is not None:
            try:
                read_sidecar(sidecar)
            except BadSidecar as error:
                target = self._settings.failed / sidecar.relative_to(self._settings.inbox)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_reason(target, (f"{error} Its file was taken without it.",))
        self._files.pop(claim)

    def waits_below(self, folder: str, unrecorded: Collection[str]) -> bool:
        """Whether a file of it was not taken yet, or not recorded."""
        inbox = self._settings.inbox
        if any((inbox / folder) in path.parents for claim in unrecorded if (path := self._files.get(claim))):
            return True
        return any(
            path.is_file() and not is_ignored(path.relative_to(inbox)) and self.is_new(path)
            for path in (inbox / folder).rglob("*")
        )
