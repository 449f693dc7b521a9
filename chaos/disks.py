"""Small file systems of their own, in memory, that can be full. Mounting them takes the right to (root, as a rule)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import FractureError

#: What the kernel is asked for while there is room: half of the machine's memory, taken only as far as it is used.
_ROOM = "size=50%,nr_inodes=1000000"
#: Others write while the disk is measured and made as small as what lies on it; then it is measured again.
_TRIES = 50


class DiskFailed(FractureError):
    """A file system for the trial cannot be mounted or changed."""


class Disk:
    """A file system mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        """Mount it; what lies in the folder is hidden meanwhile.

        Raises:
            DiskFailed: It may not be mounted here.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        _call("mount", "-t", "tmpfs", "-o", f"{_ROOM},mode=755", "fracture-chaos", str(folder))

    def fill(self) -> None:
        """Leave no room: no block for another byte, no entry for another file or folder.

        Raises:
            DiskFailed: It is written to so fast that it cannot be measured.
        """
        for attempt in range(_TRIES):
            found = os.statvfs(self.folder)
            # Nought would mean that there is no limit.
            size = max(1, found.f_blocks - found.f_bfree) * found.f_frsize
            entries = max(1, found.f_files - found.f_ffree)
            try:
                self._change(f"size={size},nr_inodes={entries}")
            except DiskFailed:
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def make_room(self) -> None:
        """Let it be written to again."""
        self._change(_ROOM)

    def unmount(self) -> None:
        """Take it away with everything on it, also while a file there is open."""
        _call("umount", "--lazy", str(self.folder))

    def _change(self, options: str) -> None:
        _call("mount", "-o", f"remount,{options}", str(self.folder))


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """Mount a disk and unmount it.

    Raises:
        DiskFailed: It may not be mounted here.
    """
    disk = Disk(folder)
    try:
        yield disk
    finally:
        disk.unmount()


def _call(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DiskFailed(f"There is no command {command[0]!r} here.") from error
    except subprocess.CalledProcessError as error:
        raise DiskFailed(error.stderr.strip() or f"{command[0]} failed.") from error
