"""How two identities of a study differ."""

from collections.abc import Iterator, Mapping
from typing import Any, cast


def describe_change(stored: Mapping[str, Any], present: Mapping[str, Any]) -> str | None:
    """Return one line that shows how two identities differ, or None where the second may resume the first.

    Only `budget.trials` may differ, and only grow.
    """
    before, now = dict(_leaves(stored)), dict(_leaves(present))
    changes = [
        f"{key}: {before.get(key, 'absent')} -> {now.get(key, 'absent')}"
        for key in {**before, **now}
        if before.get(key) != now.get(key) and not (key == "budget.trials" and key in before and now.get(key, 0) > before[key])
    ]
    return "; ".join(changes) or None


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        items = list(cast("Mapping[Any, Any]", tree).items())
    elif isinstance(tree, list):
        items = list(enumerate(cast("list[Any]", tree)))
    else:
        yield prefix, tree
        return
    for key, value in items:
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
