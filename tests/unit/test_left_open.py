"""The guard in conftest.py: a module that leaves something open in a cycle fails itself."""

from __future__ import annotations

import socket

from tests.conftest import collect


class Loop:
    """Goes away with the garbage collector alone."""

    def __init__(self) -> None:
        self.itself = self
        self.socket = socket.socket()


def test_what_is_left_open_in_a_cycle_is_told_when_it_is_collected() -> None:
    collect()
    loop = Loop()
    assert collect() == []  # it is in use
    del loop
    [words] = collect()
    assert "unclosed <socket.socket" in words


def test_what_was_closed_is_not_told() -> None:
    collect()
    Loop().socket.close()
    assert collect() == []
