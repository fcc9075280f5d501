"""What is in a source file: one parse, one walk."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

from orchestrator.demo.files import module_of

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = (
    *_FUNCTIONS,
    ast.ClassDef,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)
"""Statements that are indented one deeper inside."""

Findings = dict[str, Any]


def parse_file(root: str, name: str) -> Findings:
    """What ``root/name`` holds: counts, imports, names, the longest function, the deepest nesting.

    A file that Python itself cannot parse is a finding too (``error``), not a failure. Raises OSError if it cannot be read.
    """
    source = Path(root, name).read_bytes()
    found: Findings = {"file": name, "module": module_of(name), "lines": source.count(b"\n"), "error": None}
    try:
        with warnings.catch_warnings(action="ignore"):  # invalid escapes and the like: not our files
            tree = ast.parse(source, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as trouble:
        return found | {"error": f"{type(trouble).__name__}: {trouble}"} | _NOTHING
    return found | _walk(tree, found["module"], is_package=name.endswith("__init__.py"))


_NOTHING: Findings = {
    "functions": 0, "async_functions": 0, "classes": 0,
    "imports": [], "names": [], "docstring": False, "longest": None, "deepest": None,
}  # fmt: skip


def _walk(tree: ast.Module, module: str, *, is_package: bool) -> Findings:
    functions = async_functions = classes = 0
    imports: set[str] = set()
    longest: tuple[int, str, int] = (0, "", 0)
    deepest: tuple[int, int] = (0, 0)
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, _BLOCKS):
            depth += 1
            deepest = max(deepest, (depth, -node.lineno))
        if isinstance(node, _FUNCTIONS):
            functions += 1
            async_functions += isinstance(node, ast.AsyncFunctionDef)
            longest = max(longest, ((node.end_lineno or node.lineno) - node.lineno + 1, node.name, node.lineno))
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports.add(_imported(node, module, is_package=is_package))
        for child in ast.iter_child_nodes(node):
            # `elif` is an `if` in the `else` of another one, but nobody would call it deeper
            chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
            stack.append((child, depth - chained))
    return {
        "functions": functions,
        "async_functions": async_functions,
        "classes": classes,
        "imports": sorted(imports - {"__future__"}),
        "names": sorted({node.name for node in tree.body if isinstance(node, (*_FUNCTIONS, ast.ClassDef))}),
        "docstring": ast.get_docstring(tree, clean=False) is not None,
        "longest": {"lines": longest[0], "name": longest[1], "line": longest[2]} if longest[0] else None,
        "deepest": {"depth": deepest[0], "line": -deepest[1]} if deepest[0] else None,
    }


def _imported(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    """The absolute name of what ``from … import`` reads."""
    if not node.level:
        return node.module or ""
    up = node.level - (1 if is_package else 0)
    parts = module.split(".")
    base = parts[: len(parts) - up] if up <= len(parts) else []
    return ".".join([*base, *([node.module] if node.module else [])]) or module
