"""The tensors and recordings of the simulated CUDA device (tests/simulated_gpu.py), and the rules that they keep."""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch._dynamo  # torch imports it with the first mode, and must not find another torch.cuda then
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "is_nonzero", "equal"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
MEETING = {"copy_", "_to_copy"} | INDEXING  # take tensors of the CPU too


class OnGpu(Tensor):
    """A tensor of the simulated device. For torch's C++ it is one of the CPU without memory, so that its autograd needs
    no driver; Python sees a tensor of device `cuda`."""

    held: Tensor  # the same numbers, on the CPU
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        made: OnGpu = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{operation} on a tensor of the simulated device, outside of its block")

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"OnGpu({self.held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> OnGpu:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)  # type: ignore[assignment]
        memo[id(self)] = copied
        return copied

    def to(self, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        kwargs.pop("copy", None)
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        how = {} if memory_format is None else {"memory_format": memory_format}
        if device is not None and device.type == "cpu":
            found: Tensor = _ToHost.apply(self)  # type: ignore[no-untyped-call]
            return found.to(dtype=dtype or self.dtype, **how)
        return super().to(dtype=dtype or self.dtype, **how)

    def new_tensor(self, data: Any, **how: Any) -> Tensor:  # type: ignore[override]
        return torch.tensor(data, **({"dtype": self.dtype, "device": CUDA} | how))

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return self.to("cpu")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


class _ToHost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: OnGpu) -> Tensor:
        here[-1].wait("cpu()")
        return x.held.detach().clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return OnGpu(slope)


here: list[Gpu] = []  # the device, inside the block that it is for


class Recording:
    """What stands in the place of torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        self.work: list[tuple[Any, Any, Any, list[Tensor]]] = []  # operation, arguments, keywords, where results lie
        self.made: list[tuple[weakref.ref[OnGpu], Tensor]] = []  # what Python got, and may have let go since; the same
        self.allocated: list[Tensor] = []  # results with memory of their own
        self.pool: object = None
        self.earlier_freed: list[Tensor] = []

    def begin(self, others: list[Recording]) -> None:
        """Of the same pool. What they have freed by now is the memory that this one's results may be in."""
        self.earlier_freed = [held for other in others for held in other.freed()]

    def freed(self) -> list[Tensor]:
        alive = {_memory(held) for made, held in self.made if made() is not None}
        return [held for held in self.allocated if _memory(held) not in alive]

    def replay(self) -> None:
        of_pool = [other for other in here[-1].recordings if other.pool is self.pool]
        later = [held for other in of_pool[of_pool.index(self) + 1 :] for held in other.allocated]
        for held in self.earlier_freed + later:
            _spoil(held)
        with _outside():
            for operation, args, kwargs, results in self.work:
                for kept, found in zip(results, _tensors(operation(*args, **kwargs)), strict=True):
                    if found is not kept:
                        kept.copy_(found)


class Asked(TorchFunctionMode):
    """Whether Python has asked for something that is done with tensors of the device."""

    on_gpu = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, kwargs = self.on_gpu, kwargs or {}
        if function is Tensor.to and len(args) > 1 and isinstance(args[1], Tensor):
            args = (args[0], args[1].device, args[1].dtype, *args[2:])  # C++ would take that of the CPU
        self.on_gpu = before or any(isinstance(each, OnGpu) for each in tree_flatten((args, kwargs))[0])
        try:
            return function(*args, **kwargs)
        finally:
            self.on_gpu = before


class Gpu(TorchDispatchMode):
    """The device. `waits` names what made the host wait, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE  # so that torch does not ask for a driver
        self.asked = Asked()
        self.waits: list[str] = []
        self.recordings: list[Recording] = []
        self.recording: Recording | None = None

    def wait(self, what: str) -> None:
        if self.recording is not None:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({what})")
        self.waits.append(what)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
        ours = [each for each in given if isinstance(each, OnGpu)]
        name, device = operation.overloadpacket.__name__, kwargs.get("device")
        to_gpu = torch.device(device).type == "cuda" if device is not None else bool(ours)
        if self.asked.on_gpu or torch._C._current_graph_task_id() != -1:  # by C++, which sees another device
            to_gpu = bool(ours) or not given
        if ours and name not in MEETING and any(each.dim() for each in given if not isinstance(each, OnGpu)):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda:0 and cpu")
        if name in INDEXING and ours and not isinstance(given[0], OnGpu):
            raise RuntimeError(f"{name}: indices should be on the CPU, as the indexed tensor is")
        booleans = any(each.dtype in (torch.bool, torch.uint8) for each in given[1:])
        crossing = bool(ours or to_gpu) and any(each.dim() or name in MEETING for each in given
                                                if not isinstance(each, OnGpu))
        comes_back = bool(ours) and name == "copy_" and not isinstance(given[0], OnGpu)
        blocks = self.recording is not None or not (
            kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
        if (ours and (name in WAITING or (name == "index" and booleans))) or (blocks and (crossing or comes_back)):
            self.wait(name)
        plain, plain_how = tree_map(_held, (args, {**kwargs, **({"device": CPU} if device is not None else {})}))
        known = {id(each.held): each for each in ours} | {id(each): each for each in given
                                                         if not isinstance(each, OnGpu)}
        if self.recording is not None and (ours or to_gpu):
            found = self._recorded(self.recording, operation, plain, plain_how)
        else:
            found = operation(*plain, **plain_how)

        def wrapped(each: Any) -> Any:
            if not isinstance(each, Tensor) or id(each) in known:
                return known.get(id(each), each)
            if not to_gpu:
                return each
            made = OnGpu(each)
            if self.recording is not None:
                self.recording.made.append((weakref.ref(made), each))
            return made
        return tree_map(wrapped, found)

    def _recorded(self, recording: Recording, operation: Any, args: Any, kwargs: Any) -> Any:
        """Nothing is done: the results are of the right shapes, and hold nothing; what would change stays."""
        aliases = [each.alias_info for each in operation._schema.returns]
        if any(alias is not None and not alias.is_write for alias in aliases):
            return operation(*args, **kwargs)  # a view, of the same memory for good
        writes = any(each.alias_info is not None and each.alias_info.is_write for each in operation._schema.arguments)
        copies = tree_map(_copied, (args, kwargs)) if writes else (args, kwargs)
        found = operation(*copies[0], **copies[1])
        if writes:
            back = {id(copy): own for copy, own in zip(_tensors(copies), _tensors((args, kwargs)), strict=True)}
            found = tree_map(lambda each: back.get(id(each), each) if isinstance(each, Tensor) else each, found)
        own = {id(each) for each in _tensors((args, kwargs))}
        for each in _tensors(found):
            if id(each) not in own:
                recording.allocated.append(each)
                _spoil(each)
        recording.work.append((operation, args, kwargs, _tensors(found)))
        return found


def _held(each: Any) -> Any:
    return each.held if isinstance(each, OnGpu) else each


def _copied(each: Any) -> Any:
    return each.clone() if isinstance(each, Tensor) else each


def _tensors(tree: Any) -> list[Tensor]:
    return [each for each in tree_flatten(tree)[0] if isinstance(each, Tensor)]


def _memory(held: Tensor) -> int:
    return held.untyped_storage().data_ptr()


def _spoil(held: Tensor) -> None:
    with _outside():
        held.fill_(float("nan") if held.is_floating_point() else 0)


def _outside() -> Any:
    """Operations on what tensors of the device hold, which it does not see."""
    return torch.utils._python_dispatch._disable_current_modes()
