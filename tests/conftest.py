"""How all tests run: one thread of computation each, so that two files can run side by side and sums round alike on every machine."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.support.tree import ROOT

os.environ["OMP_NUM_THREADS"] = "1"  # before torch or numpy is imported; processes that tests start inherit it

RAY = "ray"


@cache
def group_of(file: str) -> str:
    """Return which tests a file's must share a process with: its own, which share what its fixtures made, or all that start Ray.

    Two Ray clusters that start on one machine at once may meet, and each wants the whole machine.
    """
    return RAY if "\nimport ray\n" in (ROOT / file).read_text(encoding="utf-8") else file


def _file_of(test: str) -> str:
    return test.partition("::")[0]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Take back what a test, or the code it called, did to torch's threads."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first: the tests on Ray, which one process does while the other does all else."""
    items.sort(key=lambda item: group_of(_file_of(item.nodeid)) != RAY)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler of pytest-xdist that hands out whole groups, in the order of collection.

    Its own `--dist loadgroup` goes by a mark, which version 3.8.0 writes where pytest 9 no longer reads it, without a word.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(_file_of(nodeid))

    config.option.loadscopereorder = False
    return ByGroup(config, log)
