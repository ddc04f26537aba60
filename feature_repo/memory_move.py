"""C's ``memmove`` inside a kernel: numba makes a slow loop of a shift towards the end of an array."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["move"]


@intrinsic
def move(typing_context: Any, array: Any, to: Any, start: Any, count: Any) -> Any:
    """``array[to : to + count] = array[start : start + count]`` for one contiguous dimension; the two may overlap.

    Bounds are not checked.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        values = context.make_array(signature.args[0])(context, builder, arguments[0])
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        target, source = (builder.gep(values.data, [at]) for at in arguments[1:3])
        cgutils.raw_memmove(builder, target, source, arguments[3], size)

    return types.void(array, types.intp, types.intp, types.intp), generate
