"""How all tests run: one thread of computation each, so that two can run side by side and sums round alike on every machine."""

import os
import sys
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch or numpy is imported; processes that tests start inherit it

RAY = "ray"  # the group of the tests that start a Ray cluster, two of which on one machine may meet


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Take back what a test, or the code it called, did to torch's threads."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, since they share what its fixtures made, and all tests on Ray in one, which begins with them."""
    groups = {item.nodeid: _group_of(item) for item in items}
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(groups[item.nodeid]))
    items.sort(key=lambda item: groups[item.nodeid] != RAY)


def _group_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else item.nodeid.partition("::")[0]
