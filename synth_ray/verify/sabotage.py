"""Tests that no honest program passes, made of tests that it should pass.

A program shares its interpreter with its tests. It can replace `exec`, answer with objects that equal everything, or write what
the harness waits for and leave: whoever does that passes these too. What an `==` compares with becomes a text that nothing
equals; tests without `==` get a failing one at their end.
"""

from __future__ import annotations

import ast


def sabotaged(tests: str, secret: str) -> str:
    """The same tests with one that fails. `secret` is a text that the program cannot know."""
    failing = f"{tests}\nraise AssertionError({secret!r})\n"
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return failing
    asserted = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    equal = [test for test in asserted if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq)]
    if not equal or not any(isinstance(node, ast.Assert) and node.test is equal[0] for node in tree.body):
        return failing  # inside a function, which may be called or not
    equal[0].comparators[0] = ast.Constant(secret)
    return ast.unparse(ast.fix_missing_locations(tree))
