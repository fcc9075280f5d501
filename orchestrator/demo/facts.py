"""What is worth telling of all those files: facts anybody can check with grep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.demo.index import opened, rows

Facts = dict[str, Any]

_TOTALS = """
SELECT count(*), total(lines), total(functions), total(async_functions), total(classes),
       sum(docstring = 0 AND error IS NULL), sum(error IS NOT NULL)
FROM files
"""
_MOST_IMPORTED = """
SELECT CASE instr(imported, '.') WHEN 0 THEN imported ELSE substr(imported, 1, instr(imported, '.') - 1) END AS module,
       count(DISTINCT file) AS files
FROM imports GROUP BY module ORDER BY files DESC, module LIMIT ?
"""
_IMPORTS_MOST = "SELECT file, count(*) AS modules FROM imports GROUP BY file ORDER BY modules DESC, file LIMIT ?"
_COMMONEST_NAME = "SELECT name, count(*) AS files FROM names GROUP BY name ORDER BY files DESC, name LIMIT ?"


def report(path: Path, top: int = 5) -> Facts:
    """The facts that the index in ``path`` holds, each list at most ``top`` long."""
    with opened(path) as index:
        totals = rows(index, _TOTALS)[0]
        names = ("files", "lines", "functions", "async_functions", "classes", "without_docstring", "unparsable")
        return {
            **{name: int(value or 0) for name, value in zip(names, totals, strict=True)},
            "most_imported": [{"module": module, "files": files} for module, files in rows(index, _MOST_IMPORTED, top * 2)],
            "imports_most": [{"file": file, "modules": modules} for file, modules in rows(index, _IMPORTS_MOST, top)],
            "commonest_name": [{"name": name, "files": files} for name, files in rows(index, _COMMONEST_NAME, top)],
            "largest_functions": _ranked(rows(index, "SELECT file, longest FROM files WHERE longest <> 'null'"), "lines", top),
            "deepest_nesting": _ranked(rows(index, "SELECT file, deepest FROM files WHERE deepest <> 'null'"), "depth", top),
        }


def _ranked(found: list[tuple[Any, ...]], by: str, top: int) -> list[dict[str, Any]]:
    decoded = [{"file": file, **json.loads(text)} for file, text in found]
    return sorted(decoded, key=lambda one: (-one[by], one["file"]))[:top]
