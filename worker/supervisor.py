"""A small supervisor: start the roles, start again what dies, stop all in order, leave no orphan.

Ours, because of the process managers on PyPI honcho stops everything at the first death and leaves orphans when it is
killed (measured), and circus and supervisor bring a server and a configuration language for five processes.
Each child asks the kernel to die with us, so a second `up` after a SIGKILL finds a free field.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worker.parent_death import die_with_parent
from worker.rotation import rotate

log = logging.getLogger(__name__)

#: A role that dies is started again after this pause, doubled at each early death up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
#: A role that lived for this long is healthy again.
_STABLE_SECONDS = 30.0
#: How often the sizes of logs are looked at.
_ROTATE_EVERY_SECONDS = 5.0
#: The exit code of wrong use or configuration: starting again would not help.
_WRONG_CONFIGURATION = 2


@dataclass(frozen=True)
class Role:
    """One process to keep alive."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool] | None = None  # later roles start when this says yes


@dataclass
class _Child:
    role: Role
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause: float = _FIRST_PAUSE
    deaths: int = field(default=0)


class Supervisor:
    """Keeps roles alive, in the order in which they were given; stops them in the reverse order."""

    def __init__(
        self, roles: Sequence[Role], *, logs: Path, environment: Mapping[str, str], stop_seconds: float
    ) -> None:
        self._children = [_Child(role, logs / f"{role.name}.log") for role in roles]
        self._environment = dict(environment)
        self._stop_seconds = stop_seconds
        self._rotate_at = 0.0
        self.failed: str | None = None  # the role whose configuration is wrong

    def start(self, *, within_seconds: float, stop: threading.Event) -> bool:
        """Start all; return whether all were ready in time."""
        until = time.monotonic() + within_seconds
        for child in self._children:
            self._start(child)
            while child.role.ready and not stop.is_set() and not self.failed and not child.role.ready():
                self.tend()
                if time.monotonic() > until:
                    return False
            if self.failed:
                return False
                stop.wait(0.05)
        return not stop.is_set()

    def run(self, stop: threading.Event) -> None:
        """Start again what dies until `stop` is set or a role's configuration turns out wrong."""
        while not stop.is_set() and not self.failed:
            self.tend()
            stop.wait(0.2)

    def stop(self) -> None:
        """Stop all, politely first; kill what is left after `stop_seconds`."""
        until = time.monotonic() + self._stop_seconds
        for child in reversed(self._children):
            if child.process is None or child.process.poll() is not None:
                continue
            child.process.terminate()
            try:
                child.process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop in time and is killed.", child.role.name)
                child.process.kill()
                child.process.wait()

    def pids(self) -> dict[str, int]:
        """Return role to process id, of those that run."""
        return {child.role.name: child.process.pid for child in self._children if child.process is not None}

    def last_words(self, role: str, lines: int = 5) -> str:
        """Return the end of a role's log."""
        for child in self._children:
            if child.role.name == role and child.log_path.exists():
                return "\n".join(child.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def _start(self, child: _Child) -> None:
        parent = os.getpid()
        with child.log_path.open("ab") as output:
            try:
                # A session of its own keeps the terminal's Ctrl-C to us: we stop the roles in order.
                child.process = subprocess.Popen(  # noqa: S603 - our own roles
                    child.role.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                    preexec_fn=lambda: die_with_parent(parent),
                )
            except (FileNotFoundError, PermissionError) as error:
                output.write(f"{child.role.command[0]} cannot be started: {error.strerror}.\n".encode())
                self.failed = child.role.name
        child.started_at = time.monotonic()

    def _rotate(self) -> None:
        for child in self._children:
            try:
                rotate(child.log_path)
            except OSError as error:
                # Looked at again later; whoever fills the disk is not helped by one line more every few seconds.
                log.debug("%s cannot be rotated: %s.", child.log_path, error.strerror)

    def tend(self) -> None:
        """Start again, once, what has died; keep the logs below their size."""
        now = time.monotonic()
        if now >= self._rotate_at:
            self._rotate_at = now + _ROTATE_EVERY_SECONDS
            self._rotate()
        for child in self._children:
            if child.process is None:
                if child.deaths and now >= child.start_again_at:
                    self._start(child)
                continue
            code = child.process.poll()
            if code is None:
                continue
            if code == _WRONG_CONFIGURATION and now - child.started_at < _STABLE_SECONDS:
                self.failed = child.role.name
                return
            child.pause = _FIRST_PAUSE if now - child.started_at > _STABLE_SECONDS else child.pause
            child.start_again_at = now + child.pause
            child.deaths += 1
            child.process = None
            log.warning("%s %s; started again in %g s.", child.role.name, _how_it_ended(code), child.pause)
            child.pause = min(2 * child.pause, _LONGEST_PAUSE)


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
