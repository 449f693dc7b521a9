"""Which kind of file system a folder lies on, as the kernel lists its mounts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
#: What other machines, or the host of a virtual one, change behind this kernel's back: it sends no events for that.
_SHARED = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|virtiofs|vboxsf|vmhgfs|prl_fs|fakeowner|ncpfs|afs|ceph|lustre|gpfs|beegfs|gfs2|ocfs2"
    r"|glusterfs|coda|fuse|fuse\..+"
)
#: A local disk with the file system of another system, through FUSE.
_LOCAL = ("fuseblk", "fuse.ntfs-3g", "fuse.exfat", "fuse.ext2")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class FileSystem:
    """Where a folder lies."""

    kind: str  # as the kernel calls it: ext4, nfs4, cifs, ...
    mount_point: str
    read_only: bool

    @property
    def is_shared(self) -> bool:
        """Whether others change it without this machine being told."""
        return self.kind not in _LOCAL and _SHARED.fullmatch(self.kind) is not None


def file_system_of(folder: Path, mounts: str | None = None) -> FileSystem | None:
    """Look up a folder's file system; None where it cannot be told.

    Args:
        folder: Which; links are followed.
        mounts: The text of a mountinfo file, see proc(5); None: this process's own.
    """
    try:
        lines = (_MOUNTS.read_text(encoding="utf-8", errors="surrogateescape") if mounts is None else mounts).split(
            "\n"
        )
    except OSError:
        return None  # no Linux, or no /proc
    place, found = folder.resolve(), None
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 6:
            continue
        point = _unescaped(fields[4])
        # Of several on one point the last is what is seen.
        if place.is_relative_to(point) and (found is None or len(point) >= len(found.mount_point)):
            kind, *rest = after.split(" ")
            options = ",".join([fields[5], *rest[1:]]).split(",")
            found = FileSystem(kind, point, read_only="ro" in options)
    return found


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
