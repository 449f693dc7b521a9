"""The audit trail of one radiograph in words, without what reviews said: not everybody may see that."""

from __future__ import annotations

from core.records.trail import Happening
from core.words import counted
from web.words import label_words, reading_words

_DOORS = {
    "door": "whoever was at this machine",
    "page": "somebody at this page",
    "api": "a program on this machine",
    "dicom": "a program that sent DICOM",
}


def what_happened(event: Happening) -> str:
    """Say what happened, as a sentence without its end."""
    detail, model = event.detail, event.model or "The model"
    match event.kind:
        case "received":
            again = ", the same bytes as before" if detail.get("duplicate") else ""
            return f"Came in as {detail.get('name') or 'a file without a name'}{again}"
        case "asked":
            return f"{model} was asked too"
        case "done":
            return f"{model} answered{_attempt(detail.get('attempt'))}"
        case "failed":
            return f"{model} failed{_attempt(detail.get('attempt'))}: {detail.get('words', '')}".rstrip(": .")
        case "postponed":
            return f"{model} was put off, to be tried again: {detail.get('words', '')}".rstrip(": .")
        case "returned":
            return f"The process that worked for {model} was gone{_death(detail)}; the work waits again"
        case "quarantined":
            deaths = counted(int(detail.get("deaths") or 0), "death", "deaths")
            return f"Set aside after {deaths} of its processes{_death(detail)}"
        case "retried":
            return f"Sent back to the queue for {model}, after it had {_ENDED.get(str(detail.get('was')), 'ended')}"
        case "cancelled":
            return f"{model} was taken out of the queue"
        case "reviewed":
            return f"{reading_words(int(detail.get('reading') or 1))} was given"
        case "review-withdrawn":
            return f"{reading_words(int(detail.get('reading') or 1))} was taken back"
        case other:
            return label_words(other)


def by_whom(event: Happening) -> str:
    """Name who did it: a person, a program or a process."""
    if reader := event.detail.get("reviewer"):
        return str(reader).removeprefix("token:") if event.actor.startswith("token:") else str(reader)
    kind, _, name = event.actor.partition(":")
    if kind == "user":
        return name
    if kind == "token":
        return f"the program {name}"
    if kind == "dicom" and name:
        return f"{name}, by DICOM"
    if kind == "command":
        return f"{name}, on the command line"
    return _DOORS.get(event.actor, event.actor)


_ENDED = {"failed": "failed", "quarantined": "been set aside", "cancelled": "been cancelled"}


def _attempt(number: object) -> str:
    return f" at attempt {number}" if isinstance(number, int) and number > 1 else ""


def _death(detail: object) -> str:
    if not isinstance(detail, dict):
        return ""
    end = detail.get("signal") or (f"exit code {detail['exit_code']}" if detail.get("exit_code") is not None else "")
    stage = f"while {detail['stage']}" if detail.get("stage") not in (None, "claimed") else ""
    words = ", ".join(part for part in (str(end), stage) if part)
    return f" ({words})" if words else ""
