"""The forms that a text in the source may take, with places for values. Names, calls, joins are followed."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from phrases_listed import BEGINNINGS, SAME
from source_names import (
    MOST,
    PLACE,
    Function,
    Module,
    assignments,
    name_of,
    own_nodes,
    parameters,
    product,
    values_at,
    values_of,
)

PHRASE = "\1"  # a place whose value is one of the phrases, too
DEPTH = 12  # of names, parameters and functions that a phrase is followed through
FEW = 4  # forms of a part, up to which the whole is one phrase for each


class Source:
    """All modules together: names lead to what is assigned to them, parameters to what calls pass."""

    def __init__(self, paths: list[Path]):
        self.modules = [Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]
        self.calls, self.functions = defaultdict(list), defaultdict(list)
        self.constants = defaultdict(list)
        self.known: dict[ast.AST, set[str]] = {}
        self.open: set[ast.AST] = set()
        self.parts: dict[str, str] = {}
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call):
                    self.calls[name_of(node.func)].append((module, node))
                elif isinstance(node, ast.FunctionDef):
                    self.functions[node.name].append((module, node))
            for name, value, _ in assignments(module.tree):
                if name.isupper():
                    self.constants[name].append((module, value))

    # Forms of an expression: its texts, with PLACE for values.

    def forms(self, module: Module, node: ast.AST | None, depth: int = DEPTH) -> set[str]:
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else {PLACE}
        if depth == 0 or node is None or node in self.open:
            return {PLACE}
        if node not in self.known:
            self.open.add(node)
            kind = getattr(self, f"_of_{type(node).__name__}", None)
            found = kind(module, node, depth - 1) if kind else {PLACE}
            self.open.remove(node)
            self.known[node] = found if 0 < len(found) <= MOST else {PLACE}
        return self.known[node]

    def _of_JoinedStr(self, module: Module, node: ast.JoinedStr, depth: int) -> set[str]:
        return product([self._part(module, part, depth) for part in node.values])

    def _part(self, module: Module, node: ast.AST, depth: int) -> set[str]:
        if not isinstance(node, ast.FormattedValue):
            return self.forms(module, node, depth)
        if node.conversion != -1 or node.format_spec:
            return {PLACE}
        return self._place(module, node, self.forms(module, node.value, depth))

    def _place(self, module: Module, node: ast.AST, forms: set[str]) -> set[str]:
        """The forms of a part of a text, or a place for them, and they are phrases of their own."""
        if len(forms) <= FEW or not all(
            re.match(r"[\w\0\1].*[\w)]$", form) or form == PLACE for form in forms
        ):
            return forms
        for form in forms - {PLACE}:
            self._keep(self.parts, module, node, form)
        return {PHRASE}

    def _of_BinOp(self, module: Module, node: ast.BinOp, depth: int) -> set[str]:
        if isinstance(node.op, ast.Add):
            return product([self.forms(module, part, depth) for part in (node.left, node.right)])
        if isinstance(node.op, ast.Mult):
            texts = self.forms(module, node.left, depth) | self.forms(module, node.right, depth)
            texts = {text for text in texts if text != PLACE}
            return {"", *texts} if texts else {PLACE}
        return {PLACE}

    def _of_IfExp(self, module: Module, node: ast.IfExp, depth: int) -> set[str]:
        return self.forms(module, node.body, depth) | self.forms(module, node.orelse, depth)

    def _of_BoolOp(self, module: Module, node: ast.BoolOp, depth: int) -> set[str]:
        found = set().union(*(self.forms(module, value, depth) for value in node.values))
        return found | {""} if isinstance(node.op, ast.And) else found

    def _of_NamedExpr(self, module: Module, node: ast.NamedExpr, depth: int) -> set[str]:
        return self.forms(module, node.value, depth)

    def _tables(self, module: Module, node: ast.AST) -> list[ast.Dict]:
        """Dictionaries that the code spells out: as they are, of a local name, or of a constant."""
        if isinstance(node, ast.Dict):
            return [node]
        name, values = name_of(node), []
        for scope in module.scopes(node):
            values += values_of(scope, name)
        values += [value for _, value in self.constants[name]]
        return [value for value in values if isinstance(value, ast.Dict)]

    def _of_Subscript(self, module: Module, node: ast.Subscript, depth: int) -> set[str]:
        values = [value for table in self._tables(module, node.value) for value in table.values]
        return set().union(*(self.forms(module, value, depth) for value in values)) or {PLACE}

    def _of_Attribute(self, module: Module, node: ast.Attribute, depth: int) -> set[str]:
        return {PLACE}

    def _of_Name(self, module: Module, node: ast.Name, depth: int) -> set[str]:
        for number, scope in enumerate(module.scopes(node)):
            inside = isinstance(scope, ast.FunctionDef) and number == 0
            values, sure = values_at(scope, node) if inside else (values_of(scope, node.id), False)
            if isinstance(scope, Function) and node.id in parameters(scope) and not sure:
                values += self._passed(module, scope, node.id, depth)
            if values:
                found, ends = set(), []
                for value in values:
                    of, value = value if isinstance(value, tuple) else (module, value)
                    if of == "added":
                        ends.append({"", *self._added(module, value, depth)})
                    else:
                        found |= self.forms(of, value, depth)
                return product([found, *ends])
        if node.id.isupper() and (values := self.constants[node.id]):
            return set().union(*(self.forms(of, value, depth) for of, value in values))
        return {PLACE}

    def _added(self, module: Module, node: ast.AST, depth: int) -> set[str]:
        """What ends a phrase; clauses of their own are kept as phrases of their own."""
        forms = self.forms(module, node, depth)
        for form in (clauses := {form for form in forms if form.startswith("; ")}):
            self._keep(self.parts, module, node, form[2:])
        return forms - clauses

    def _passed(self, module: Module, function: Function, name: str, depth: int) -> list:
        """What the calls of a function pass for a parameter. Calls are found by the name alone."""
        if isinstance(function, ast.Lambda) or function.name == "open":
            return [(module, None)]
        names = parameters(function)
        parent = module.parents[function]
        method = isinstance(parent, ast.ClassDef) and bool(names) and names[0] in ("self", "cls")
        callee = parent.name if method and function.name == "__init__" else function.name
        place = names.index(name) - method
        values = []
        for of, call in self.calls[callee]:
            if "gui" in of.path.parts and "gui" not in module.path.parts:
                continue
            keyword = next((one.value for one in call.keywords if one.arg == name), None)
            if keyword is not None:
                values.append((of, keyword))
            elif 0 <= place < len(call.args):
                value = call.args[place]
                values.append((of, None if isinstance(value, ast.Starred) else value))
        positional = function.args.args
        defaults = dict(
            zip([one.arg for one in positional][::-1], function.args.defaults[::-1], strict=False)
        )
        defaults |= {
            one.arg: default
            for one, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
            if default
        }
        if name in defaults:
            values.append((module, defaults[name]))
        return values or [(module, None)]

    def _of_Call(self, module: Module, node: ast.Call, depth: int) -> set[str]:
        name = name_of(node.func)
        if name == "counted":
            # As the catalogue has both: `{} mask|s`, `{} class|es`.
            things = self.forms(module, node.args[1], depth)
            return {f"{PLACE} {thing}|{'es' if thing.endswith('s') else 's'}" for thing in things}
        if name == "list_some":
            return {self._joined(module, node.args[0], depth)}
        if name == "join" and isinstance(node.func, ast.Attribute) and node.args:
            return {self._joined(module, node.args[0], depth)}
        if name == "format" and isinstance(node.func, ast.Attribute):
            return {
                re.sub(r"\{\w*(:[^}]*)?\}", PLACE, text)
                for text in self.forms(module, node.func.value, depth)
            }
        if name == "get" and (tables := self._tables(module, node.func.value)):
            values = [value for table in tables for value in (*table.values, *node.args[1:])]
            return set().union(*(self.forms(module, value, depth) for value in values))
        if name in ("str", "quoted", "visible", "repr") or not name:
            return {PLACE}
        if name in ("strip", "rstrip") and isinstance(node.func, ast.Attribute):
            return {text.strip() for text in self.forms(module, node.func.value, depth)}
        functions = self.functions[name]
        if name == "get" or len(functions) > 2:
            return {PLACE}
        found = set()
        for of, function in functions:
            for statement in own_nodes(function):
                if isinstance(statement, ast.Return) and statement.value is not None:
                    found |= self.forms(of, statement.value, depth)
        return found or {PLACE}

    def _joined(self, module: Module, node: ast.AST, depth: int) -> str:
        """Keep the parts of what is joined as phrases of their own."""
        kept = [
            self._keep(self.parts, of, item, form)
            for of, item in self._items(module, node, depth)
            for form in self.forms(of, item, depth)
        ]
        return PHRASE if any(kept) else PLACE

    def _items(self, module: Module, node: ast.AST | None, depth: int) -> Iterator[tuple[Module, ast.AST]]:
        if depth == 0 or node is None:
            return
        if isinstance(node, (ast.List, ast.Tuple)):
            for item in node.elts:
                if isinstance(item, ast.Starred):
                    yield from self._items(module, item.value, depth - 1)
                else:
                    yield module, item
        elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            yield module, node.elt
        elif isinstance(node, ast.BinOp):
            yield from self._items(module, node.left, depth - 1)
            yield from self._items(module, node.right, depth - 1)
        elif isinstance(node, ast.IfExp):
            yield from self._items(module, node.body, depth - 1)
            yield from self._items(module, node.orelse, depth - 1)
        elif isinstance(node, ast.Name):
            yield from self._items_of_name(module, node, depth - 1)
        elif isinstance(node, ast.Call):
            functions = self.functions[name_of(node.func)]
            for of, function in functions if len(functions) <= 2 else ():
                for statement in own_nodes(function):
                    if isinstance(statement, ast.Return):
                        yield from self._items(of, statement.value, depth - 1)

    def _items_of_name(self, module: Module, node: ast.Name, depth: int) -> Iterator[tuple[Module, ast.AST]]:
        for scope in module.scopes(node):
            values = values_of(scope, node.id)
            for value in values:
                yield from self._items(module, value[1] if isinstance(value, tuple) else value, depth)
            if values:
                for call in own_nodes(scope):
                    adds = isinstance(call, ast.Call) and name_of(call.func) == "append"
                    if adds and getattr(call.func.value, "id", None) == node.id:
                        yield module, call.args[0]
                return

    def _keep(self, found: dict[str, str], module: Module, node: ast.AST, text: str) -> bool:
        """Whether the text has words that need Chinese."""
        kept = False
        for line in text.split("\n"):
            line = re.sub("[\0\1]*\1[\0\1]*", PHRASE, re.sub("\0+", PLACE, line.strip()))
            for beginning in BEGINNINGS:
                line = line.removeprefix(beginning)
            # Something, with what it means in brackets, is looked up in two parts.
            meant = re.fullmatch(r"(.*?)   \((.*)\)", line)
            phrases = meant.groups() if meant else [line]
            for phrase in phrases:
                if needs_words(phrase):
                    kept = True
                    found.setdefault(phrase, f"{module.name}:{node.lineno}")
        return kept


def needs_words(template: str) -> bool:
    """Whether it has words to translate, beside commands, flags and names of files."""
    shown = template.replace(PLACE, "{}")
    if shown in SAME or re.fullmatch(r"(--[\w-]+)+ [\w\0:-]+|pip install [\w -]+", template):
        return False
    text = re.sub(r"[\0\1]\S*|--[\w-]+|\S*\.(py|pth|png|json|txt|csv|onnx)\b|\bpython\b", " ", template)
    return bool(re.search(r"[a-z]{2,}", text))
