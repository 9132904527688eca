"""How two identities of a study differ.

An identity that is stored leaves out every key at its default, so that a key which a later version adds stops no study that was begun; one
of the format before holds them all.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast


def describe_change(
    stored: Mapping[str, Any],
    present: Mapping[str, Any],
    kept: Mapping[str, Any] | None = None,
    default_of: Callable[[str], Any] = lambda key: "absent",
) -> str | None:
    """Return one line that shows how two identities differ, or None where the second may resume the first.

    `kept` is what would be stored of `present`, without the keys at their defaults, which `default_of` returns by their dotted names.
    Only `budget.trials` may differ, and only grow.
    """
    before, now = dict(_leaves(stored)), dict(_leaves(present))
    # A key that is not stored was at its default, and is kept only where it is so no more.
    changeable = now if kept is None else dict(_leaves(kept))
    unstored = {key: (default_of(key), now[key]) for key in changeable if key not in before}
    pairs = {key: (value, now.get(key, "absent")) for key, value in before.items()} | unstored
    changes = [f"{key}: {was} -> {is_now}" for key, (was, is_now) in pairs.items() if was != is_now and not _may_grow(key, was, is_now)]
    return "; ".join(changes) or None


def _may_grow(key: str, was: Any, is_now: Any) -> bool:
    return key == "budget.trials" and isinstance(was, int) and isinstance(is_now, int) and is_now > was


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
