"""The hosts of the test bed: a network namespace each, or loopback addresses where that is not allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

import psutil

from chaos.trial import TrialFailed
from worker.parent_death import die_with_parent

_BRIDGE, _NETWORK = "fq-bridge", "10.77.0"
_INSIDE = "FRACTURE_TESTBED_INSIDE"


@dataclass
class Host:
    """One machine of the bed, as far as the others can tell."""

    name: str
    address: str
    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def family(self) -> list[psutil.Process]:
        """Return all its processes that live."""
        found = []
        for process in self.processes:
            if process.poll() is None:
                parent = psutil.Process(process.pid)
                found += [parent, *parent.children(recursive=True)]
        return found


class Network(Protocol):
    """What joins the hosts, and can keep one from the others."""

    words: str

    def add(self, name: str, home: Path) -> Host:
        """Make a host."""

    def within(self, host: Host, command: Sequence[str]) -> list[str]:
        """Return the command that runs a command on a host."""

    def cut(self, host: Host) -> None:
        """Let nothing through between a host and the others."""

    def join(self, host: Host) -> None:
        """End that."""


class Namespaces:
    """A namespace for each host. Made within a namespace of our own, so that nothing of it is left when we end."""

    words = "network namespaces, joined by veth pairs and a bridge"

    def __init__(self) -> None:
        """Make the bridge; we are a host on it ourselves."""
        self._hosts = 0
        names = Path("/run/netns")
        names.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "none", str(names))
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", _BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{_NETWORK}.254/24", "dev", _BRIDGE)
        _run("ip", "link", "set", _BRIDGE, "up")

    def add(self, name: str, home: Path) -> Host:
        """Make a namespace and plug it in."""
        self._hosts += 1
        host = Host(name, f"{_NETWORK}.{self._hosts}", home)
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", _plug(host), "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", _plug(host), "master", _BRIDGE, "up")
        _run("ip", "-n", name, "address", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", name, "link", "set", device, "up")
        return host

    def within(self, host: Host, command: Sequence[str]) -> list[str]:
        """Enter the namespace, under the host's own name."""
        named = 'hostname "$0" && exec "$@"'
        return ["ip", "netns", "exec", host.name, "unshare", "--uts", "sh", "-c", named, host.name, *command]

    def cut(self, host: Host) -> None:
        """Pull the plug; connections stay open at both ends, as with a cable."""
        _run("ip", "link", "set", _plug(host), "down")

    def join(self, host: Host) -> None:
        """Put it back."""
        _run("ip", "link", "set", _plug(host), "up")


class Loopback:
    """An address of the loopback network for each host."""

    def __init__(self, reason: str) -> None:
        """Keep why there is nothing better."""
        self.words = f"loopback addresses, because {reason}; a host is cut off by stopping its processes"
        self._hosts = 0

    def add(self, name: str, home: Path) -> Host:
        """Choose the next address."""
        self._hosts += 1
        return Host(name, f"127.77.0.{self._hosts}", home)

    def within(self, host: Host, command: Sequence[str]) -> list[str]:  # noqa: ARG002 - as `Network` has it
        """Run it as it is."""
        return list(command)

    def cut(self, host: Host) -> None:
        """Stop its processes: nobody hears of it, and it hears of nobody."""
        for process in host.family():
            process.suspend()

    def join(self, host: Host) -> None:
        """Let them go on."""
        for process in host.family():
            process.resume()


def open_network() -> Network:
    """Make the network; the program begins anew in namespaces of its own where that is allowed."""
    if not os.environ.get(_INSIDE):
        if reason := why_no_namespaces():
            return Loopback(reason)
        _begin_anew()
    return Namespaces()


def _begin_anew() -> NoReturn:
    command = ["unshare", "--net", "--mount", "--", sys.executable, "-m", "chaos.testbed", *sys.argv[1:]]
    os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606 - no shell, and it does not return


def start(network: Network, host: Host, command: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """Start a program on a host; it ends with us."""
    parent = os.getpid()
    host.home.mkdir(parents=True, exist_ok=True)
    with (host.home / f"{log}.log").open("ab") as output:
        host.processes.append(
            subprocess.Popen(
                network.within(host, command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: die_with_parent(parent),
            )
        )


def stop(hosts: Sequence[Host], within_seconds: float) -> None:
    """End everything, the last host first."""
    for host in reversed(hosts):
        for process in reversed(host.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(within_seconds)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def why_no_namespaces() -> str | None:
    """Say why there can be no namespaces; None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [name for name in ("ip", "unshare", "mount", "hostname") if shutil.which(name) is None]:
        return f"{missing[0]} is not installed"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "--", "ip", "link", "add", _BRIDGE, "type", "bridge"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"they cannot be made here ({tried.stderr.strip()})"


def _plug(host: Host) -> str:
    return f"fq-{host.name}"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrialFailed(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
