"""Files that a command sends: each is read when its turn comes, of an archive each file in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from core.archives import is_archive, limits_of, taken_apart
from core.errors import UnreadableImage
from core.ingest import BEGINNING, Incoming
from core.named_files import content_of, open_named
from core.settings import Settings


class Outgoing:
    """What is to be sent, walked through once."""

    def __init__(self, files: Sequence[Path], settings: Settings) -> None:
        self._files, self._settings = files, settings
        self.total = len(files)  # as far as is known: an archive counts as one until it is opened
        self.names: list[str] = []  # of what was handed out, as the sender knows them

    def __iter__(self) -> Iterator[Incoming]:
        """Read them, one after the other; those that cannot be read come with a sentence."""
        for path in self._files:
            for file in self._read(path):
                self.names.append(file.name if file.name == path.name else f"{path.name}/{file.name}")
                yield file

    def _read(self, path: Path) -> Iterator[Incoming]:
        try:
            with open_named(path) as stream:
                beginning = stream.read(BEGINNING)
                stream.seek(0)
                if is_archive(beginning):
                    size = path.stat().st_size
                    limits = limits_of(self._settings)
                    yield from taken_apart(stream, path.name, size, limits, expect=self._expect)
                    return
                found = content_of(stream, self._settings.max_file_bytes, beginning=BEGINNING)
        except OSError as error:
            problem = UnreadableImage(f"The file cannot be read: {error.strerror}.")
            yield Incoming(name=path.name, data=None, size=0, problem=problem)
        else:
            yield Incoming(name=path.name, data=found.data, size=found.size, beginning=found.beginning)

    def _expect(self, files: int) -> None:
        self.total += files - 1
