"""The demo's real work: what is in a source file, who imports whom, and what is worth telling."""

from __future__ import annotations

from pathlib import Path

from orchestrator.demo import facts, index
from orchestrator.demo.files import module_of, source_files
from orchestrator.demo.findings import parse_file

SOURCE = '''"""A module."""
from __future__ import annotations
import os, json.decoder
from . import sibling
from ..pkg import thing

class A:
    def long(self):
        if 1:
            pass
        elif 2:
            pass
        elif 3:
            for _ in ():
                with open(""):
                    pass

async def later(): ...
def main(): ...
'''


def written(root: Path, name: str, text: str) -> dict[str, object]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return parse_file(str(root), name)


def test_what_is_in_a_file(tmp_path: Path) -> None:
    """Functions, classes, imports with their absolute names, the longest function, the deepest nesting."""
    found = written(tmp_path, "app/web/views.py", SOURCE)
    assert found["module"] == "app.web.views"
    assert (found["functions"], found["async_functions"], found["classes"]) == (3, 1, 1)
    assert found["imports"] == ["app.pkg", "app.web", "json.decoder", "os"]
    assert found["names"] == ["A", "later", "main"]
    assert found["docstring"] is True
    assert found["longest"] == {"lines": 9, "name": "long", "line": 8}
    assert found["deepest"] == {"depth": 5, "line": 15}, "class, def, if (its elifs are no deeper), for, with"


def test_a_file_that_python_cannot_parse_is_a_finding(tmp_path: Path) -> None:
    """It is counted, not fatal: the standard library has some on purpose."""
    found = written(tmp_path, "bad.py", "def (:\n")
    assert str(found["error"]).startswith("SyntaxError")
    assert found["imports"] == []
    assert str(written(tmp_path, "null.py", "a = '\0'\n")["error"])


def test_adding_a_file_again_changes_nothing(tmp_path: Path) -> None:
    """Tasks run at least once: whatever they leave behind bears being done twice."""
    where = tmp_path / "index.db"
    for name in ("one.py", "two.py", "one.py"):
        index.add(where, written(tmp_path, name, SOURCE))
    once = facts.report(where)
    index.add(where, written(tmp_path, "one.py", SOURCE))
    assert facts.report(where) == once
    assert (once["files"], once["functions"]) == (2, 6)


def test_facts_are_those_of_the_files(tmp_path: Path) -> None:
    """Checked by hand on three files."""
    where = tmp_path / "index.db"
    for name, text in (("a.py", SOURCE), ("b.py", "import os.path\ndef main():\n    pass\n"), ("c.py", "import os\n(")):
        index.add(where, written(tmp_path, name, text))
    told = facts.report(where)
    assert told["most_imported"][0] == {"module": "os", "files": 2}
    assert told["commonest_name"][0] == {"name": "main", "files": 2}
    assert told["largest_functions"][0] == {"file": "a.py", "lines": 9, "name": "long", "line": 8}
    assert told["deepest_nesting"][0]["depth"] == 5
    assert (told["without_docstring"], told["unparsable"]) == (1, 1)


def test_source_files_are_real_many_and_always_the_same() -> None:
    """Thousands of files that nobody made up, in an order that does not change; never more than asked for."""
    files = source_files(600)
    assert len(files) == 600
    assert files == source_files(600)
    assert len({file.name for file in files}) == 600
    assert all(Path(file.root, file.name).is_file() for file in files[:50])


def test_a_package_is_named_after_its_directory() -> None:
    """As import would have it."""
    assert module_of("json/__init__.py") == "json"
    assert module_of("json/decoder.py") == "json.decoder"
    assert module_of("__init__.py") == "__init__"
