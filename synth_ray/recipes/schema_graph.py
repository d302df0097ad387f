"""A JSON Schema as a graph: its parts, and the references between them, all of which lead to parts of the same document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_ONE = (
    "items", "contains", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "propertyNames",
    "not", "if", "then", "else", "contentSchema",
)  # fmt: skip
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_BY_NAME = ("properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions")
_SAME_VALUE = frozenset(
    {*_REFERENCES, "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"}
)
"""Keywords whose schemas apply to the value itself, so that a cycle of them alone is followed for ever."""

_CONTAINED = frozenset({*_REFERENCES, "allOf", "anyOf", "oneOf", "properties", "items", "prefixItems"})


@dataclass(frozen=True, slots=True)
class Edge:
    """A part that a part refers to: by a keyword and, under it, a property's name or an index."""

    keyword: str
    name: str | int
    to: str


@dataclass(frozen=True, slots=True)
class SchemaGraph:
    """The parts that are mappings, and their edges, by path: `#/properties/a`. `referenced` are the parts first reached by a
    reference, which may stand where no metaschema looks.
    """

    parts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    edges: dict[str, list[Edge]] = field(default_factory=dict)
    referenced: list[str] = field(default_factory=list)


def graph_of(schema: dict[str, Any], dialect: str) -> SchemaGraph:
    """The graph of a schema that fits the metaschema of its dialect. Raises ValueError for a reference that leads nowhere, or
    out of the document.
    """
    graph, path_of = SchemaGraph(), {id(schema): "#"}
    waiting = [("#", schema, _root_resolver(specification_with(dialect).create_resource(schema)))]
    while waiting:
        path, part, resolver = waiting.pop()
        graph.parts[path], graph.edges[path] = part, []
        for keyword, name, inner, its_resolver in _inner_schemas(part, path, resolver):
            if not isinstance(inner, dict):
                continue
            if id(inner) not in path_of:
                path_of[id(inner)] = _path_of_new_part(path, keyword, name, part, set(path_of.values()))
                waiting.append((path_of[id(inner)], inner, its_resolver))
                if keyword in _REFERENCES:
                    graph.referenced.append(path_of[id(inner)])
            graph.edges[path].append(Edge(keyword, name, path_of[id(inner)]))
    return graph


def _path_of_new_part(path: str, keyword: str, name: str | int, part: Mapping[str, Any], taken: set[str]) -> str:
    """Its place in the document where that is known: a reference's text is its place, unless an `$id` gives it another root."""
    reference = str(part[keyword]) if keyword in _REFERENCES else ""
    if reference.startswith("#/") and reference not in taken:
        return reference
    return f"{path}/{keyword}" if name == "" else f"{path}/{keyword}/{name}"


def _root_resolver(root: Resource[Any]) -> Any:
    try:
        return Registry().resolver_with_root(root)
    except ValueError as error:
        raise ValueError(f"wanted an `$id` that is a URI, got another at #: {error}") from None


def _inner_schemas(part: Mapping[str, Any], path: str, resolver: Any) -> Iterator[tuple[str, str | int, Any, Any]]:
    """(keyword, name, schema, resolver) of everything that the part contains or refers to."""
    for keyword in _REFERENCES:
        if keyword in part:
            yield keyword, "", *_resolved(str(part[keyword]), path, resolver)
    for keyword in _ONE:
        if isinstance(part.get(keyword), dict):
            yield keyword, "", part[keyword], _inside(resolver, part[keyword])
    for keyword in _LISTS:
        if isinstance(part.get(keyword), list):
            yield from ((keyword, index, inner, _inside(resolver, inner)) for index, inner in enumerate(part[keyword]))
    for keyword in _BY_NAME:
        if isinstance(part.get(keyword), dict):
            yield from ((keyword, name, inner, _inside(resolver, inner)) for name, inner in part[keyword].items())


def _inside(resolver: Any, schema: Any) -> Any:
    """The resolver inside a part, which may have an `$id` of its own."""
    if not isinstance(schema, dict) or not isinstance(schema.get("$id"), str):
        return resolver
    return resolver.in_subresource(specification_with(_default_dialect(schema)).create_resource(schema))


def _default_dialect(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$schema") or "https://json-schema.org/draft/2020-12/schema")


def _resolved(reference: str, path: str, resolver: Any) -> tuple[Any, Any]:
    try:
        found = resolver.lookup(reference)
    except (Unresolvable, ValueError, TypeError):
        if reference.startswith("#"):
            raise ValueError(
                f"wanted $ref that lead to a schema of this document, got '{reference[:160]}' at {path}, which leads nowhere; "
                "define it there, as under $defs"
            ) from None
        raise ValueError(
            f"wanted $ref within this document, such as #/$defs/name, got '{reference[:160]}' at {path}, which leads out of it; "
            "nothing is fetched: copy that schema under $defs"
        ) from None
    if not isinstance(found.contents, (dict, bool)):
        raise ValueError(
            f"wanted $ref that lead to a schema, got '{reference[:160]}' at {path}, which leads to a "
            f"{type(found.contents).__name__}; correct it"
        )
    return found.contents, found.resolver


def reference_cycle(graph: SchemaGraph) -> list[str]:
    """The paths of a cycle of schemas that all apply to the same value; empty if there is none."""
    ended: set[str] = set()

    def follow(path: str, trail: list[str]) -> list[str]:
        if path in trail:
            return [*trail[trail.index(path) :], path]
        if path in ended:
            return []
        for edge in graph.edges[path]:
            if edge.keyword in _SAME_VALUE and (cycle := follow(edge.to, [*trail, path])):
                return cycle
        ended.add(path)
        return []

    return next(filter(None, (follow(path, []) for path in graph.parts)), [])


def part_without_end(graph: SchemaGraph) -> str:
    """The path of a part that no finite value fits, because each of its values contains another one, where every value of the
    whole schema has it; empty if there is none.
    """
    finite: set[str] = set()
    while found := [path for path in graph.parts if path not in finite and _has_finite_value(graph, path, finite)]:
        finite.update(found)
    path, seen = "#", set[str]()
    while path not in finite:
        if path in seen:
            return path
        seen.add(path)
        path = next(edge.to for edge in graph.edges[path] if edge.to not in finite and edge.keyword in _CONTAINED)
    return ""


def _has_finite_value(graph: SchemaGraph, path: str, finite: set[str]) -> bool:
    part, edges = graph.parts[path], graph.edges[path]
    if "enum" in part or "const" in part:
        return True
    if not all(edge.to in finite for edge in edges if _must_hold(part, edge)):
        return False
    for keyword in ("anyOf", "oneOf"):
        choices = [edge.to for edge in edges if edge.keyword == keyword]
        if choices and len(choices) == len(part[keyword]) and not any(choice in finite for choice in choices):
            return False
    return True


def _must_hold(part: Mapping[str, Any], edge: Edge) -> bool:
    """Whether every value of the part has a value of the edge's schema in it, or is one."""
    if edge.keyword in (*_REFERENCES, "allOf"):
        return True
    if part.get("type") == "object" and edge.keyword == "properties":
        return edge.name in (part.get("required") or [])
    if part.get("type") == "array" and edge.keyword in ("items", "prefixItems"):
        least = part.get("minItems") or 0
        return least > (edge.name if isinstance(edge.name, int) else len(part.get("prefixItems") or []))
    return False
