"""What the parts of a publication have counted so far, as plain data, and given to new parts of the same job.

A part names its counting attributes in `KEEPS`. One that has a `KEEPS` itself is filled in place; the others are replaced.
As bytes it is JSON in which every container says what it is, and the arrays, one after the other. Reading it makes containers,
arrays and objects of the classes that count, attribute by attribute: nothing in it is ever called.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

State = dict[str, Any]
Array = np.ndarray[Any, Any]

_MODULES = ("synth_ray.quality.", "synth_ray.publish.", "synth_ray.check.", "synth_ray.dataset.part")
_NO_BYTES = np.zeros(0, np.uint8)
_LIST, _TUPLE, _SET, _DICT, _COUNTER, _COUNTERS, _BYTES, _NUMBERS, _ARRAY, _OBJECT = "ltsdCKbnao"


def state_of(part: Any) -> State:
    """The part's counting attributes by name. They are the part's own objects, not copies."""
    values = {name: getattr(part, name) for name in part.KEEPS}
    return {name: state_of(value) if hasattr(value, "KEEPS") else value for name, value in values.items()}


def fill(part: Any, state: Mapping[str, Any]) -> None:
    """Give a new part what another had counted."""
    for name in part.KEEPS:
        own = getattr(part, name)
        if hasattr(own, "KEEPS"):
            fill(own, state[name])
        else:
            setattr(part, name, state[name])


def to_arrays(state: State) -> dict[str, Array]:
    """The state as three named arrays, however many are in it. Raises TypeError for a value that is neither a count nor a
    container of some.
    """
    arrays: list[Array] = []
    text = json.dumps(_plain(state, arrays)).encode()
    data = [np.ascontiguousarray(own).reshape(-1).view(np.uint8) for own in arrays]
    ends = np.cumsum([0, *(len(own) for own in data)])
    return {"state": np.frombuffer(text, np.uint8), "data": np.concatenate([_NO_BYTES, *data]), "ends": ends}


def from_arrays(arrays: Mapping[str, Array]) -> State:
    """Raises ValueError, KeyError, TypeError or AttributeError for a state that another version wrote."""
    data, ends = arrays["data"], arrays["ends"].tolist()
    parts = [data[start:end] for start, end in pairwise(ends)]
    return dict(_read(json.loads(arrays["state"].tobytes()), parts))


def _plain(value: Any, arrays: list[Array]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if kind in _SEQUENCES:
        return [_SEQUENCES[kind], *(_plain(own, arrays) for own in value)]
    if kind in _MAPPINGS:
        return [_MAPPINGS[kind], *([_plain(name, arrays), _plain(own, arrays)] for name, own in value.items())]
    if kind in _NUMBER_KINDS:
        numbers = np.frombuffer(value, np.uint8) if kind is bytes else np.array(value)
        arrays.append(numbers)
        return [_NUMBER_KINDS[kind], len(arrays) - 1, numbers.dtype.str, list(numbers.shape), getattr(value, "typecode", "")]
    if not f"{kind.__module__}.".startswith(_MODULES):
        raise TypeError(f"a checkpoint: wanted counts, got a {kind.__name__}")
    return [_OBJECT, f"{kind.__module__}:{kind.__name__}", _plain(_attributes(value), arrays)]


_SEQUENCES: dict[type, str] = {list: _LIST, tuple: _TUPLE, set: _SET, frozenset: _SET}
_MAPPINGS: dict[type, str] = {dict: _DICT, Counter: _COUNTER, defaultdict: _COUNTERS}


_NUMBER_KINDS: dict[type, str] = {np.ndarray: _ARRAY, bytes: _BYTES, array: _NUMBERS}


def _attributes(value: Any) -> dict[str, Any]:
    names = getattr(value, "__slots__", None) or vars(value)
    return {name: getattr(value, name) for name in names}


def _read(plain: Any, arrays: Sequence[Array]) -> Any:
    if not isinstance(plain, list):
        return plain
    kind, *parts = plain
    if kind in (_ARRAY, _BYTES, _NUMBERS):
        place, number_type, shape, typecode = parts
        return _read_numbers(kind, np.array(np.frombuffer(arrays[place], number_type).reshape(shape)), typecode)
    if kind == _OBJECT:
        return _read_object(parts[0], _read(parts[1], arrays))
    if kind in (_LIST, _TUPLE, _SET):
        values = [_read(own, arrays) for own in parts]
        return values if kind == _LIST else tuple(values) if kind == _TUPLE else set(values)
    pairs = {_read(name, arrays): _read(own, arrays) for name, own in parts}
    if kind == _COUNTERS:
        return defaultdict(Counter, pairs)
    return Counter(pairs) if kind == _COUNTER else pairs


def _read_numbers(kind: str, numbers: Array, typecode: str) -> Any:
    if kind == _ARRAY:
        return numbers
    return numbers.tobytes() if kind == _BYTES else array(typecode, numbers.tobytes())


def _read_object(path: str, attributes: Mapping[str, Any]) -> Any:
    module, _, name = path.partition(":")
    found = getattr(sys.modules[module], name) if f"{module}.".startswith(_MODULES) else None
    if not isinstance(found, type):
        raise ValueError(f"a checkpoint: wanted classes that count, got {path}")
    made: Any = object.__new__(found)
    for own, value in attributes.items():
        object.__setattr__(made, own, value)
    return made
