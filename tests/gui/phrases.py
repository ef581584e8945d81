"""The phrases of users' mistakes, and of remarks, as templates that are read off the source.

A template is the text with {} for each value. `PYTHONPATH=. python tests/gui/phrases.py` prints those without
Chinese in `gui/mistakes.json`, and what is there for nothing.
"""

import ast
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from phrases_listed import BY_HAND, CALLS, EXPLAINED, FIELDS, LEFT_OUT, LISTS, PRINTED, REASONS
from source_forms import PHRASE, Source
from source_names import PLACE, ROOT, Module, name_of, own_nodes


class Phrases(Source):
    """Where phrases are said."""

    def collect(self) -> dict[str, str]:
        """Template of a phrase → where it is said."""
        found: dict[str, str] = {}
        for module, node in itertools.chain(self._called(), self._returned(), self._written()):
            for text in self.forms(module, node):
                self._keep(found, module, node, text)
        return self.parts | found

    def _called(self) -> Iterator[tuple[Module, ast.AST]]:
        """What calls pass: of CALLS, and what is added to LISTS."""
        for kind, fields in CALLS.items():
            for module, call in self.calls[kind]:
                if kind != "print" or module.name.startswith(PRINTED):
                    given = [node for name, node in zip(fields, call.args, strict=False) if name]
                    given += [one.value for one in call.keywords if one.arg in fields]
                    yield from ((module, node) for node in given)
        for module, call in self.calls["append"] + self.calls["add"]:
            if name_of(getattr(call.func, "value", call)) in LISTS:
                yield module, call.args[0]

    def _returned(self) -> Iterator[tuple[Module, ast.AST]]:
        """What betrays the format of a data set."""
        for name, functions in self.functions.items():
            for module, function in functions if name.startswith("recognise_") else ():
                for node in own_nodes(function):
                    if isinstance(node, ast.Return) and node.value is not None:
                        yield module, node.value

    def _written(self) -> Iterator[tuple[Module, ast.AST]]:
        """What attributes of an error are set to, keys of remarks, reasons of mistakes, and REMEDIES."""
        for module, table in self.constants["REMEDIES"]:
            yield from ((module, value) for value in table.values)
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Subscript) and name_of(node.value) == "remarks":
                    yield module, node.slice
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") in FIELDS:
                    yield module, node.value
                if isinstance(node, ast.Raise) and module.name.startswith(EXPLAINED):
                    kind, arguments = name_of(getattr(node.exc, "func", node)), getattr(node.exc, "args", ())
                    if kind in REASONS and arguments:
                        yield module, arguments[0]


def reachable_paths() -> list[Path]:
    paths = [
        *ROOT.glob("*.py"),
        *(path for part in ("nets", "utils", "gui") for path in (ROOT / part).rglob("*.py")),
    ]
    names = {path: path.relative_to(ROOT).as_posix() for path in paths}
    return sorted(path for path, name in names.items() if not name.startswith(tuple(LEFT_OUT)))


def all_templates() -> dict[str, str]:
    """Template → where it is said. Places are {} or, where the value is a phrase as well, {:zh}."""
    found = Phrases(reachable_paths()).collect()
    shown = {line.replace(PLACE, "{}").replace(PHRASE, "{:zh}"): place for line, place in found.items()}
    return dict.fromkeys(BY_HAND, "tests/gui/phrases_listed.py") | shown


if __name__ == "__main__":
    from gui.mistakes import CATALOGUE
    from gui.texts import CHINESE

    said, table = all_templates(), json.loads(CATALOGUE.read_text(encoding="utf-8"))
    for template, place in said.items():
        if template.replace("{:zh}", "{}") not in {**CHINESE, **table}:
            print(f"{place}\t{template}")
    for english in table.keys() - {template.replace("{:zh}", "{}") for template in said}:
        print(f"no longer said\t{english}")
