"""Arrow arrays as Python values that JSON can hold, whatever their type.

Dates, times and timestamps become ISO 8601 text, of any year and with every digit that is not zero; a timestamp with a zone is
given in UTC (`+00:00`). A duration is ISO 8601 seconds (`PT1.5S`), a decimal its digits, a UUID its usual form, a dictionary its
values, a struct an object, and a map an object or, where its keys are not texts that differ, a list of [key, value]. Bytes are
text where they are UTF-8; where not, their row is rejected. An extension type is what it is stored as.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from synth_ray.plan.plain import Unreadable, object_of
from synth_ray.records import Reason

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY = 86_400
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097  # after which the Gregorian calendar repeats
_FIRST_DAY = date(2000, 1, 1).toordinal() - date(1970, 1, 1).toordinal()

Values = list[Any]


def values_of(array: pa.Array) -> Values:
    """One value for each element; `Unreadable` for one that cannot be a value."""
    if _is_direct(array.type):
        try:
            values: Values = array.to_pylist()
            return values
        except UnicodeDecodeError:
            pass  # some text is not UTF-8: told apart below
    for fits, convert in _CONVERTERS:
        if fits(array.type):
            return convert(array)
    return [None if value is None else str(value) for value in array.to_pylist()]


def _is_direct(kind: pa.DataType) -> bool:
    """Whether Arrow's own conversion gives plain values; checked first, because it is much faster."""
    if _is_list(kind):
        return _is_direct(kind.value_type)
    if types.is_struct(kind):
        names = [field.name for field in kind]
        return len(set(names)) == len(names) and all(_is_direct(field.type) for field in kind)
    return types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or _is_text(kind)


def _is_list(kind: pa.DataType) -> bool:
    return any(
        fits(kind)
        for fits in (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return _is_text(kind) or any(
        fits(kind) for fits in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    )


def _texts(array: pa.Array) -> Values:
    return [_text(bytes(item.as_buffer())) if item.is_valid else None for item in array]


def _text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        return Unreadable(Reason.INVALID_UTF8, f"{len(data)} bytes, not UTF-8 at byte {error.start}")


def _lists(array: pa.Array) -> Values:
    items, results, start = values_of(array.flatten()), [], 0
    for length in pc.list_value_length(array).to_pylist():
        results.append(None if length is None else items[start : start + length])
        start += length or 0
    return results


def _structs(array: pa.Array) -> Values:
    names = [field.name for field in array.type]
    columns = [values_of(column) for column in array.flatten()]
    valid = array.is_valid().to_pylist()
    return [object_of([(n, c[i]) for n, c in zip(names, columns, strict=True)]) if valid[i] else None for i in range(len(array))]


def _maps(array: pa.Array) -> Values:
    return [_map(item.values) if item.is_valid else None for item in array]


def _map(entries: pa.StructArray) -> Any:
    return object_of(list(zip(values_of(entries.field(0)), values_of(entries.field(1)), strict=True)))


def _unions(array: pa.Array) -> Values:
    return [_scalar(item.value) for item in array]


def _scalar(item: pa.Scalar) -> Any:
    return values_of(pa.array([item], item.type))[0]


def _dictionaries(array: pa.Array) -> Values:
    values = values_of(array.dictionary)
    return [None if i is None else values[i] for i in array.indices.to_pylist()]


def _extensions(array: pa.Array) -> Values:
    name = getattr(array.type, "extension_name", "")
    if name == "arrow.uuid":
        return [str(UUID(bytes=data)) if data is not None else None for data in array.storage.to_pylist()]
    if name == "arrow.bool8":
        return [bool(number) if number is not None else None for number in array.storage.to_pylist()]
    return values_of(array.storage)


def _decimals(array: pa.Array) -> Values:
    return [format(value, "f") if value is not None else None for value in array.to_pylist()]


def _numbers(array: pa.Array, shown: Callable[[int], str]) -> Values:
    kind = pa.int32() if array.type.bit_width == 32 else pa.int64()
    return [shown(number) if number is not None else None for number in array.view(kind).to_pylist()]


def _days(array: pa.Array) -> Values:
    return _numbers(array, _day)


def _milliseconds_of_days(array: pa.Array) -> Values:
    return _numbers(array, lambda number: _day(number // (1000 * _DAY)))


def _times(array: pa.Array) -> Values:
    unit = _UNITS[array.type.unit]
    return _numbers(array, lambda number: _clock(number, unit))


def _timestamps(array: pa.Array) -> Values:
    unit, zone = _UNITS[array.type.unit], "+00:00" if array.type.tz is not None else ""

    def shown(number: int) -> str:
        days, rest = divmod(number, _DAY * unit)
        return f"{_day(days)}T{_clock(rest, unit)}{zone}"

    return _numbers(array, shown)


def _durations(array: pa.Array) -> Values:
    unit = _UNITS[array.type.unit]
    return _numbers(array, lambda number: _duration(number, unit))


def _intervals(array: pa.Array) -> Values:
    return [f"P{v.months}M{v.days}D{_duration(v.nanoseconds, 10**9)[1:]}" if v is not None else None for v in array.to_pylist()]


def _day(days: int) -> str:
    """A day counted from 1970 as ISO 8601, in any year."""
    cycles, rest = divmod(days - _FIRST_DAY, _CYCLE_DAYS)
    day = date(2000, 1, 1) + timedelta(days=rest)
    year = day.year + cycles * _CYCLE_YEARS
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{day:%m-%d}"


def _duration(number: int, unit: int) -> str:
    return f"PT{'-' if number < 0 else ''}{_seconds(abs(number), unit)}S"


def _clock(number: int, unit: int) -> str:
    minutes, rest = divmod(number, 60 * unit)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{_seconds(rest, unit, digits=2)}"


def _seconds(number: int, unit: int, digits: int = 1) -> str:
    whole, rest = divmod(number, unit)
    fraction = f".{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole:0{digits}d}{fraction}"


_CONVERTERS: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Values]]] = [
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _extensions),
    (types.is_dictionary, _dictionaries),
    (types.is_run_end_encoded, lambda array: values_of(pc.run_end_decode(array))),
    (_is_bytes, _texts),
    (_is_list, _lists),
    (types.is_map, _maps),
    (types.is_struct, _structs),
    (types.is_union, _unions),
    (types.is_decimal, _decimals),
    (types.is_timestamp, _timestamps),
    (types.is_date32, _days),
    (types.is_date64, _milliseconds_of_days),
    (types.is_time, _times),
    (types.is_duration, _durations),
    (types.is_interval, _intervals),
]
