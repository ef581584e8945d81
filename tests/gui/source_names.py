"""Names in a source file, what is assigned to them, and the forms of a text."""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PLACE = "\0"
MOST = 64  # forms of one text
ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.Lambda
# What is assigned; ("added", what) for `+=`; None where that cannot be told.
Value = ast.AST | tuple[str, ast.AST] | None


@dataclass
class Module:
    path: Path
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """The functions around a node, from within, then the module."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.Module)):
                yield node


def name_of(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def parameters(function: Function) -> list[str]:
    return [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a scope, without those of the functions in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield from own_nodes(child)


@cache
def assignments(scope: ast.AST) -> list[tuple[str, Value, ast.AST]]:
    """(name, what is assigned to it, the node that does it) in a scope; None where that cannot be told."""
    return [(*found, node) for node in own_nodes(scope) for found in _assigned(node)]


def _assigned(node: ast.AST) -> Iterator[tuple[str, Value]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from pair(target, node.value)
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value:
        yield from pair(node.target, node.value)
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, ("added", node.value)
    elif isinstance(node, (ast.For, ast.comprehension)):
        values = node.iter.elts if isinstance(node.iter, (ast.Tuple, ast.List)) else [None]
        for value in values:
            yield from pair(node.target, value)


def values_of(scope: ast.AST, name: str) -> list[Value]:
    """What is assigned to a name in a scope."""
    return [value for known, value, _ in assignments(scope) if known == name]


def values_at(scope: ast.AST, use: ast.Name) -> tuple[list[Value], bool]:
    """What a name of a function may hold where it is used, and whether it was set there in any case."""
    found = [(value, node) for name, value, node in assignments(scope) if name == use.id]
    earlier = [
        (value, node)
        for value, node in found
        if isinstance(node, (ast.comprehension, ast.NamedExpr)) or node.lineno < use.lineno
    ]
    sure = [node.lineno for _, node in earlier if isinstance(node, ast.Assign) and node in scope.body]
    since = max(sure, default=0)
    values = [value for value, node in earlier or found if getattr(node, "lineno", since) >= since]
    return values, bool(sure)


def pair(target: ast.AST, value: ast.AST | None) -> Iterator[tuple[str, Value]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple):
        values = value.elts if isinstance(value, ast.Tuple) else [None] * len(target.elts)
        if (
            isinstance(value, ast.IfExp)
            and isinstance(value.body, ast.Tuple)
            and isinstance(value.orelse, ast.Tuple)
        ):
            yield from pair(target, value.body)
            yield from pair(target, value.orelse)
            return
        for one, part in zip(target.elts, values, strict=False):
            yield from pair(one, part)


def product(parts: list[set[str]]) -> set[str]:
    """All texts that are one of each part after the other; places where these would be too many."""
    if not parts:
        return {""}
    number = 1
    for part in parts:
        number *= len(part)
    if number > MOST:
        parts = [part if len(part) == 1 else {PLACE} for part in parts]
    return {"".join(some) for some in itertools.product(*parts)}
