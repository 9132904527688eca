"""How many bytes of tensors are alive: an allocator's peak for devices whose allocator keeps no account, such as the CPU."""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the storages that operations make while the mode is on, and their peak.

    A storage counts once, however many tensors view it, from the operation that made it until the last tensor is gone. Storages that
    were there before do not count, nor does what a kernel allocates and frees within one operation. Each operation costs
    some microseconds more: meant for a step or two, not for a whole training.
    """

    def __init__(self, before: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.bytes, self.peak = 0, 0
        # By weak reference, so that counting a storage does not keep it alive; those of before weigh nothing.
        self._counted: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        for tensor in before:
            self._counted[tensor.untyped_storage()] = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then take up the storages it made."""
        inputs = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)}
        results = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(results):
            # An operation in place, or a view, gives back a storage that it was given: not its own to count.
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in inputs:
                self._take_up(leaf.untyped_storage())
        return results

    def _take_up(self, storage: torch.UntypedStorage) -> None:
        if storage in self._counted:
            return
        size = storage.nbytes()  # now: when the storage is let go it can no longer be asked
        self._counted[storage] = size
        weakref.finalize(storage, self._let_go, size)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)

    def _let_go(self, size: int) -> None:
        self.bytes -= size


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the tensors' storages, each storage once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
