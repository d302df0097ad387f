"""Reads a job's file: safe YAML, in which no key is given twice and no anchor contains itself. Every fault has its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from synth_ray.job.problems import BadJob, Problem, Where, bad_job

_MAX_VALUES = 1_000_000
"""Values of a document with each alias written out. Twenty lines of nested anchors can stand for billions."""

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: str | Path) -> tuple[dict[str, Any], dict[Where, int]]:
    """The document, a mapping, and the line of every key in it. Raises BadJob."""
    return _read(path, may_be_list=False)


def read_list_or_mapping(path: str | Path) -> list[Any] | dict[str, Any]:
    """The document, which may be a list. Raises BadJob."""
    document: list[Any] | dict[str, Any] = _read(path, may_be_list=True)[0]
    return document


def _read(path: str | Path, *, may_be_list: bool) -> tuple[Any, dict[Where, int]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _bad_file(path, 0, "a readable job file", error.strerror or "an error") from None
    except UnicodeDecodeError:
        raise _bad_file(path, 0, "UTF-8 text", "other bytes; is this the job file?") from None
    try:
        return _parse(text, path, may_be_list)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "another text"
        raise _bad_file(path, mark.line + 1 if mark else 0, "valid YAML", str(problem).replace("\t", "\\t")) from None
    except RecursionError:
        raise _bad_file(path, 0, "YAML of some hundred levels at most", "a deeper one") from None


def parse_value(text: str) -> Any:
    """A single YAML value, such as that of `--set`. Raises ValueError that says what is wrong with it."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(getattr(error, "problem", None) or "another text") from None
    except RecursionError:
        raise ValueError("too many levels") from None


def _parse(text: str, path: str | Path, may_be_list: bool) -> tuple[Any, dict[Where, int]]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode) and not (may_be_list and isinstance(node, yaml.SequenceNode)):
            kind = {type(None): "an empty one", yaml.SequenceNode: "a list"}.get(type(node), "a single value")
            raise _bad_file(path, 1, "a list or a mapping" if may_be_list else "a mapping of sections", kind)
        if _count_values(node, {}) > _MAX_VALUES:
            raise _bad_file(path, 0, f"at most {_MAX_VALUES:,} values", "anchors that stand for more; write less of them")
        _refuse_bad_nodes(loader, node, set(), path)
        lines = dict(_lines(node, ()))
        document = loader.construct_document(node)
    finally:
        loader.dispose()
    return document, lines


def _bad_file(path: str | Path, line: int, wanted: str, got: str) -> BadJob:
    return bad_job([Problem(str(path), line, "(file)", wanted, got)])


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _count_values(node: yaml.Node, counted: dict[yaml.Node, int]) -> int:
    """The values under a node with each alias written out. Raises ConstructorError where an anchor contains itself."""
    if node not in counted:
        counted[node] = 0
        counted[node] = 1 + sum(_count_values(inner, counted) for inner in _children(node))
    elif not counted[node]:
        raise yaml.constructor.ConstructorError(None, None, "an anchor that contains itself", node.start_mark)
    return counted[node]


def _refuse_bad_nodes(loader: yaml.SafeLoader, node: yaml.Node, seen: set[yaml.Node], path: str | Path) -> None:
    """Refuse keys given twice, of which YAML keeps the last, and values that only look like a date or a number."""
    if node in seen:
        return
    seen.add(node)
    if isinstance(node, yaml.ScalarNode) and node.tag != _MERGE:
        try:
            loader.construct_object(node)
        except (ValueError, TypeError, OverflowError):
            problem = f"{node.value[:60]!r}, which is no {node.tag.rpartition(':')[2]}; quote it if it is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated_keys(node)
    for inner in _children(node):
        _refuse_bad_nodes(loader, inner, seen, path)


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    names: set[tuple[str, str]] = set()
    for name, _ in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key that is a list or a mapping", name.start_mark)
        if (name.tag, name.value) in names:
            raise yaml.constructor.ConstructorError(None, None, f"key {name.value!r} is given twice", name.start_mark)
        names.add((name.tag, name.value))


def _lines(node: yaml.Node, where: Where) -> Iterator[tuple[Where, int]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield (*where, name.value), name.start_mark.line + 1
            yield from _lines(value, (*where, name.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*where, index), value.start_mark.line + 1
            yield from _lines(value, (*where, index))
