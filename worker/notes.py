"""What a worker process is doing, written where its death leaves it legible.

Each process that classifies keeps one small file in memory (a write costs a microsecond and no system call). The
worker's main process reads it, adds how the process ended, and so does the reconciler where only a file is left.
"""

from __future__ import annotations

import json
import mmap
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from core.alive import forget_killed
from core.records.evidence import Evidence

#: Bytes of a note: it never grows, so that writing it cannot fail.
_SIZE = 512


@dataclass(frozen=True)
class Note:
    """One process's last words."""

    token: str = ""  # of the claim in hand; empty: nothing is
    claimed_at: float = 0.0  # seconds of the machine's monotonic clock, which all its processes share
    stage: str = "claimed"
    job_id: int | None = None
    exit_code: int | None = None
    peak_memory_bytes: int | None = None
    limit_seconds: float | None = None

    def evidence(self) -> Evidence:
        """Return what it says of a death."""
        return Evidence(
            stage=self.stage,
            job_id=self.job_id,
            exit_code=self.exit_code,
            peak_memory_bytes=self.peak_memory_bytes,
            limit_seconds=self.limit_seconds,
        )


class Notebook:
    """This process's note. Without a file it writes nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._note = Note()
        self._memory: mmap.mmap | None = None
        if path is not None:
            with path.open("w+b") as stream:
                stream.truncate(_SIZE)
                self._memory = mmap.mmap(stream.fileno(), _SIZE)
            self._write()

    @contextmanager
    def holding(self, token: str) -> Iterator[None]:
        """Note that a batch was claimed; when the block has ended, in whichever way, that nothing is in hand."""
        self._note = Note(token=token, claimed_at=time.monotonic())
        self._write()
        try:
            yield
        finally:
            self._note = Note()
            self._write()

    def at(self, stage: str, job_id: int | None = None) -> None:
        """Note where the batch is, and with which of its jobs."""
        self._note = replace(self._note, stage=stage, job_id=job_id)
        self._write()

    def _write(self) -> None:
        if self._memory is not None:
            self._memory[:] = _encoded(self._note)


def notes_folder(runtime: Path) -> Path:
    """Return where the notes of this machine's processes lie, below a folder that is this user's alone."""
    return runtime / "notes"


def note_path(runtime: Path, pid: int) -> Path:
    """Return where a process keeps its note."""
    return notes_folder(runtime) / str(pid)


def read_note(runtime: Path, pid: int) -> Note | None:
    """Return a process's note, or None when there is none that can be read."""
    try:
        document = json.loads(note_path(runtime, pid).read_bytes().rstrip(b"\0 "))
        return Note(**document)
    except (OSError, ValueError, TypeError):
        return None  # also one that death cut off in the middle


def add_end(runtime: Path, pid: int, note: Note) -> None:
    """Write the note of a process that is dead; a full disk leaves the old one."""
    with suppress(OSError):
        note_path(runtime, pid).write_bytes(_encoded(note))


def forget_dead(runtime: Path) -> None:
    """Remove the notes of processes that ended long ago; call when a worker starts."""
    folder = notes_folder(runtime)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        with suppress(OSError):
            if not Path("/proc", path.name).exists() and path.stat().st_mtime < time.time() - 3600:
                path.unlink()


def leave_runtime(runtime: Path) -> None:
    """Remove the runtime folder when `up` has ended, or what of it nobody needs any more.

    Notes of what was in hand are evidence that the next start looks for. What runs beside `up` goes on in this folder,
    and keeps it.
    """
    forget_killed(runtime)
    with suppress(OSError):
        for path in notes_folder(runtime).iterdir():
            note = read_note(runtime, int(path.name)) if path.name.isdigit() else None
            if not Path("/proc", path.name).exists() and (note is None or not note.token):
                path.unlink()
    for folder in (notes_folder(runtime), runtime):
        with suppress(OSError):  # it holds something, or was never made
            folder.rmdir()


def evidence_left_by(runtime: Path, worker: str, token: str) -> Evidence:
    """Return what a process that held a claim left behind; on another machine that is nothing."""
    host, _, pid = worker.removeprefix("worker@").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return Evidence()
    note = read_note(runtime, int(pid))
    return note.evidence() if note is not None and note.token == token else Evidence()


def _encoded(note: Note) -> bytes:
    return json.dumps(vars(note)).encode().ljust(_SIZE)[:_SIZE]


def peak_memory_of(pid: int) -> int | None:
    """Return the most memory in bytes that was ever resident in a living process (Linux; None elsewhere)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
