"""The words for the classes of each task."""

from __future__ import annotations

from core.errors import ConfigurationError

#: Labels of each task, in the order of a network's outputs.
TASK_LABELS: dict[str, tuple[str, ...]] = {
    "fracture-type": (
        "avulsion",
        "comminuted",
        "fracture-dislocation",
        "greenstick",
        "hairline",
        "impacted",
        "longitudinal",
        "oblique",
        "pathological",
        "spiral",
    ),
    "fracture": ("fractured", "not-fractured"),
}


def labels_of_task(task: str) -> tuple[str, ...]:
    """Return a task's labels.

    Raises:
        ConfigurationError: There is no such task.
    """
    if task not in TASK_LABELS:
        raise ConfigurationError(f"There is no task {task!r}; the tasks are {', '.join(TASK_LABELS)}.")
    return TASK_LABELS[task]
