"""Asking the processor for memory before it is read: the processor goes on meanwhile."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_INT, _BYTES = ir.IntType(32), ir.IntType(8).as_pointer()
_FOR_READING, _KEEP_IN_ALL_CACHES, _DATA = (ir.Constant(_INT, number) for number in (0, 3, 1))


@intrinsic
def prefetch_item(typing: Any, array: Any, index: Any) -> Any:
    """In compiled code: have the cache line of `array[index]` fetched. An index outside the array does no harm.

    Unlike a read whose result is not used it holds nothing up, and LLVM does not remove it. Source: LLVM language reference,
    `llvm.prefetch`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), _BYTES)
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INT, _INT, _INT])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
        builder.call(prefetch, [address, _FOR_READING, _KEEP_IN_ALL_CACHES, _DATA])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
