"""How kernels are compiled, and the types of their arguments.

Every kernel that Python calls names its argument types, so it is compiled when its module is first imported, and later loaded
from the disk cache. Arrays that belong together are passed as one NamedTuple. numba takes a writable array for a read-only
parameter, but not inside a tuple: there, use `read_only`. After renaming a NamedTuple, or changing a function that a kernel
of another module calls, delete the cached `*.nbi` files: numba looks only at the source of the kernel's own module.
"""

from __future__ import annotations

from typing import Any

import numba as nb

from synth_ray.dedup.hashing import Array

COMPILED = {"nogil": True, "cache": True, "boundscheck": False}
"""Options of a kernel that Python calls."""
UNCOUNTED = COMPILED | {"_nrt": False}
"""Options of a kernel that takes tuples of arrays and allocates nothing: without numba's reference counting.

With it every use of a field counts the array up and down, atomically: `index_kernels.decide` takes 2.5 times as long. A kernel
that allocates fails to compile with these options.
"""
INLINED = {"forceinline": True, "_nrt": False}
"""Options of a function that such a kernel calls in its loops: a real call would copy every field of its tuples."""

U8S = nb.types.Array(nb.u1, 1, "C", readonly=True)
U32S = nb.types.Array(nb.u4, 1, "C", readonly=True)
U64S = nb.types.Array(nb.u8, 1, "C", readonly=True)
I64S = nb.types.Array(nb.i8, 1, "C", readonly=True)
F64S = nb.types.Array(nb.f8, 1, "C", readonly=True)
U32_ROWS = nb.types.Array(nb.u4, 2, "C", readonly=True)
U64_ROWS = nb.types.Array(nb.u8, 2, "C", readonly=True)


def tuple_type(kind: type, *fields: Any) -> Any:
    """The numba type of a NamedTuple class whose fields have these types."""
    return nb.types.BaseTuple.from_types(fields, kind)


def read_only(array: Array) -> Array:
    """The array as a read-only view."""
    view = array.view()
    view.flags.writeable = False
    return view
