"""A pretended GPU: it refuses what CUDA refuses, and counts launches of kernels and waits.

Its tensors are the CPU's, whose storage is marked; results are therefore the CPU's to the bit. A
launch is an operation that computes something (a fused operation of torch is one), a wait is one
after which the host has to wait until the card has finished: copies from pageable memory or to the
host, values that Python reads, results whose size depends on values. What a real driver does beside
(waits in its allocator, several kernels for an operation) is not counted.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.support.plans import REPOSITORY

CARD = torch.device("cuda", 0)
_GIGABYTE = 10**9
_BETWEEN_CLEANUPS = 1000
_device_of, _is_cuda, _is_cpu = (
    getattr(Tensor, name).__get__ for name in ("device", "is_cuda", "is_cpu")
)
_ALLOCATIONS = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"
}  # fmt: skip
_NOT_COMPUTED = _ALLOCATIONS | {
    "_local_scalar_dense", "_unsafe_view", "alias", "detach", "detach_", "lift_fresh", "set_"
}  # fmt: skip
_OF_UNKNOWN_SIZE = {
    "_local_scalar_dense", "_unique2", "bincount", "equal", "is_nonzero", "masked_select",
    "nonzero", "unique_consecutive", "unique_dim",
}  # fmt: skip
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class PretendedGpu:
    """Marks of tensors, and what was counted."""

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()
        """Place in our code -> operations that would launch a kernel."""
        self.waits: Counter[str] = Counter()
        """Kind of wait and place in our code -> how often the host would wait."""
        # By address. A weak reference keeps the address from being used again.
        self._marked: dict[int, StorageWeakRef] = {}
        self._pinned: dict[int, StorageWeakRef] = {}

    def reset(self) -> None:
        """Count from 0."""
        self.launches.clear()
        self.waits.clear()

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor is on the card."""
        return _key(tensor) in self._marked

    def mark(self, tensor: Tensor, *, on_card: bool) -> None:
        """Set where a tensor is."""
        if on_card:
            _remember(tensor, self._marked)
        else:
            self._marked.pop(_key(tensor), None)

    def pin(self, tensor: Tensor) -> Tensor:
        """Take the tensor as one in pinned memory of the host."""
        _remember(tensor, self._pinned)
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        """Return whether a tensor of the host is in pinned memory."""
        return _key(tensor) in self._pinned

    def wait(self, kind: str) -> None:
        """Count a wait."""
        self.waits[f"{kind} {_place()}"] += 1

    def launch(self) -> None:
        """Count a launch."""
        self.launches[_place()] += 1


class _Operations(TorchDispatchMode):
    """Sees every operation of torch, those of autograd too."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu
        self._was_on_card = False

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = options or {}
        with torch._C.DisableTorchFunction():
            inputs = _tensors((arguments, options))
            name = function._schema.name.removeprefix("aten::")
            on_card = any(self.gpu.holds(tensor) for tensor in inputs)
            # The gradient of an unused result is made of nothing, where the backward pass runs.
            if not inputs and torch._C._current_autograd_node() is not None:
                on_card = self._was_on_card
            self._was_on_card = on_card
            if on_card:
                self._check(name, arguments, inputs)
                self._count_waits(name, arguments, options)
            before = {_key(tensor) for tensor in inputs}
            result = function(*arguments, **options)
            for tensor in _tensors(result):
                if _key(tensor) not in before:
                    self.gpu.mark(tensor, on_card=on_card)
            if on_card and not (_is_view(function) or name in _NOT_COMPUTED):
                self.gpu.launch()
            return result

    def _check(self, name: str, arguments: Any, inputs: list[Tensor]) -> None:
        """Refuse operations of tensors in both memories; numbers in tensors are taken from both."""
        if all(self.gpu.holds(tensor) or tensor.dim() == 0 for tensor in inputs):
            return
        if name in ("copy_", "_to_copy"):
            return
        indexed = name in _INDEXING and self.gpu.holds(arguments[0])
        if indexed and all(self.gpu.holds(t) or t.dim() == 0 for t in _tensors(arguments[2:])):
            self.gpu.wait("index of the host")
            return
        places = [("cuda" if self.gpu.holds(t) else "cpu", tuple(t.shape)) for t in inputs]
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} {places}")

    def _count_waits(self, name: str, arguments: Any, options: Any) -> None:
        if name in _OF_UNKNOWN_SIZE:
            self.gpu.wait(name)
        if name in _INDEXING and any(t.dtype == torch.bool for t in _tensors(arguments[1])):
            self.gpu.wait("index of unknown size")
        if name == "copy_":
            target, source = arguments[:2]
            asked = arguments[2] if len(arguments) > 2 else options.get("non_blocking", False)
            count_copy(self.gpu, source, to_card=self.gpu.holds(target), non_blocking=asked)


class _Functions(TorchFunctionMode):
    """Answers for the marked tensors what CUDA's would, and makes them where they are asked for."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        gpu, options = self.gpu, dict(options or {})
        if function == _device_of:
            return CARD if gpu.holds(arguments[0]) else _device_of(arguments[0])
        if function in (_is_cuda, _is_cpu):
            return gpu.holds(arguments[0]) == (function == _is_cuda)
        if function in (Tensor.numpy, Tensor.__array__) and gpu.holds(arguments[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if function is Tensor.tolist and gpu.holds(arguments[0]):
            gpu.wait("tolist")
            return arguments[0].tolist()
        if function is Tensor.pin_memory:
            return gpu.pin(arguments[0].clone())
        if function is Tensor.is_pinned:
            return gpu.is_pinned(arguments[0])
        if function in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._move(function, arguments, options)
        pinned = options.pop("pin_memory", False)
        device = options.get("device")
        there = device is not None and torch.device(device).type == "cuda"
        if there:
            options["device"] = "cpu"
        result = function(*arguments, **options)
        if there:
            for tensor in _tensors(result):
                gpu.mark(tensor, on_card=True)
            if function.__name__ not in _ALLOCATIONS:
                gpu.launch()
        elif pinned:
            gpu.pin(result)
        elif function in (torch.tensor, torch.as_tensor, torch.from_numpy, torch.frombuffer):
            gpu.mark(result, on_card=False)
        return result

    def _move(self, function: Any, arguments: Any, options: dict[str, Any]) -> Tensor:
        tensor, *rest = arguments
        here = self.gpu.holds(tensor)
        copy = options.pop("copy", False)
        if function is Tensor.to and rest and isinstance(rest[0], Tensor):
            device, dtype, asked, layout = rest[0].device, rest[0].dtype, False, None
        elif function is Tensor.to:
            device, dtype, asked, layout = torch._C._nn._parse_to(*rest, **options)
        else:
            device = CARD if function is Tensor.cuda else torch.device("cpu")
            dtype, layout = None, options.get("memory_format")
            asked = options.get("non_blocking", False)
        there = here if device is None else device.type == "cuda"
        wanted = {"dtype": dtype, "memory_format": layout, "copy": copy or here != there or None}
        given = {name: value for name, value in wanted.items() if value is not None}
        if here == there:
            return tensor.to(**given) if given else tensor
        count_copy(self.gpu, tensor, to_card=there, non_blocking=asked)
        with torch._C.DisableTorchFunction():
            result = tensor.to(**given)
        self.gpu.mark(result, on_card=there)
        return result


def count_copy(gpu: PretendedGpu, source: Tensor, *, to_card: bool, non_blocking: bool) -> None:
    """Count a wait where a copy between the memories is one.

    A small copy from pageable memory, which is what the tests have, is staged by the driver and
    does not wait if it is asked not to; one to the host always does, as its value is read next.
    """
    if gpu.holds(source) != to_card and not (non_blocking and to_card):
        gpu.wait("copy to the card" if to_card else "copy to the host")


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Pretend one GPU of 80 GB in this block."""
    gpu = PretendedGpu()
    load, autocast = torch.load, torch.autocast

    def cleanly(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*arguments: Any, **options: Any) -> Tensor:
            result = make(*arguments, **options)
            gpu.mark(result, on_card=False)
            return result

        return made

    def load_there(file: Any, map_location: Any = None, **options: Any) -> Any:
        result = load(file, map_location="cpu", **options)
        there = map_location is not None and torch.device(map_location).type == "cuda"
        for tensor in _tensors(result):
            gpu.mark(tensor, on_card=there)
        return result

    def autocast_there(device: str, *arguments: Any, **options: Any) -> Any:
        return autocast("cpu" if device == "cuda" else device, *arguments, **options)

    of_cuda = {
        "is_available": lambda: True,
        "init": lambda: None,
        "device_count": lambda: 1,
        "set_device": lambda _: None,
        "get_device_name": lambda *_: "Pretended GPU",
        "mem_get_info": lambda *_: (80 * _GIGABYTE, 80 * _GIGABYTE),
        "get_device_capability": lambda *_: (9, 0),
    }
    with ExitStack() as stack:
        for name, function in of_cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, function))
        stack.enter_context(mock.patch.object(torch.cuda, "Event", mock.Mock))
        stack.enter_context(mock.patch.object(torch.accelerator, "is_available", lambda: False))
        stack.enter_context(mock.patch.object(torch, "from_numpy", cleanly(torch.from_numpy)))
        stack.enter_context(mock.patch.object(torch, "load", load_there))
        stack.enter_context(mock.patch.object(torch, "autocast", autocast_there))
        stack.enter_context(_Functions(gpu))
        stack.enter_context(_Operations(gpu))
        yield gpu


def _key(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()._cdata


def _remember(tensor: Tensor, storages: dict[int, StorageWeakRef]) -> None:
    """Add the tensor's storage; leave out those that are freed once they may be many."""
    with torch._C.DisableTorchFunction():
        storages[_key(tensor)] = StorageWeakRef(tensor.untyped_storage())
    if len(storages) % _BETWEEN_CLEANUPS == 0:
        for key in [key for key, storage in storages.items() if storage.expired()]:
            del storages[key]


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _is_view(function: Any) -> bool:
    returned = function._schema.returns
    aliases = [value.alias_info for value in returned]
    return bool(returned) and all(a is not None and not a.is_write for a in aliases)


def _place() -> str:
    """Return the innermost line of the package that is being executed."""
    for frame in reversed(traceback.extract_stack(limit=40)):
        if frame.filename.startswith(str(REPOSITORY / "salcr")):
            return f"{frame.filename.removeprefix(str(REPOSITORY) + '/')}:{frame.lineno}"
    return "elsewhere"
