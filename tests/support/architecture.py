"""The engine of the layer test: the modules with what they import, and rules that find breaches among them."""

import ast
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

LAYERS = ("schemas", "transforms", "pipelines")
MAX_FILE, LONG_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 300, 45, 6
COMPILED = re.compile(r"njit|compiled|inlined")
VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|base|managers?|misc|stuff)(_|$)")


class Breach(NamedTuple):
    """`where` breaks a rule by `what`: the two name an exception, so neither holds a line number."""

    where: str
    what: str


@dataclass(frozen=True)
class Module:
    """A file, with the modules of the project and the packages of others that it imports anywhere in it."""

    name: str
    path: str
    text: str
    inside: frozenset[str]
    outside: frozenset[str]

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        tree = ast.parse(self.text)
        return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


Rule = Callable[[Sequence[Module]], Iterator[Breach]]


def read_modules(root: Path) -> list[Module]:
    """All modules of the three layers below `root`."""
    paths = {
        _dotted(path.relative_to(root)): path for layer in LAYERS for path in sorted(root.glob(f"{layer}/**/*.py"))
    }
    return [_module(root, name, path, paths.keys()) for name, path in paths.items()]


def _module(root: Path, name: str, path: Path, known: Collection[str]) -> Module:
    text = path.read_text()
    package = path.relative_to(root).parts[:-1]
    inside: set[str] = set()
    outside: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            outside.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            outside.add(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1]
            target = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{target}.{alias.name}" for alias in node.names]
            inside.update((one if one in known else target) or "millrace" for one in names)
    return Module(name, str(path.relative_to(root)), text, frozenset(inside), frozenset(outside))


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def below(name: str, room: str) -> bool:
    """Whether a module is the room or stands in it."""
    return name == room or name.startswith(room + ".")


def arrows(may_import: Mapping[str, Sequence[str]]) -> Rule:
    """Each room imports of the project what its row allows; the longest room that a module is in counts.

    An allowed room that ends with `!` is that module alone, without what is below it.
    """

    def rule(modules: Sequence[Module]) -> Iterator[Breach]:
        for module in modules:
            rooms = [room for room in may_import if below(module.name, room)]
            if not rooms:
                yield Breach(module.name, "is in no room")
                continue
            allowed = may_import[max(rooms, key=len)]
            for target in sorted(module.inside):
                if not any(target == one[:-1] if one.endswith("!") else below(target, one) for one in allowed):
                    yield Breach(module.name, f"imports {target}")

    return rule


def relative_inside(modules: Sequence[Module]) -> Iterator[Breach]:
    """The project imports itself relatively: its folders are a package of another name when they are installed."""
    for module in modules:
        for target in sorted(module.outside):
            if target.split(".")[0] in (*LAYERS, "millrace"):
                yield Breach(module.name, f"imports {target} absolutely")


def connectors(registries: Mapping[str, Sequence[str]], parts: Mapping[str, Collection[str]]) -> Rule:
    """What stands in a folder of connectors is imported by its registry alone, and connectors not by one another.

    `registries` are by folder the modules that may import its connectors; `parts` are by folder their names, where not
    all that stands in it is a connector.
    """

    def connector(name: str) -> tuple[str, str] | None:
        for folder in registries:
            if name.startswith(folder + "."):
                child = name[len(folder) + 1 :].split(".")[0]
                return (folder, f"{folder}.{child}") if child in parts.get(folder, (child,)) else None
        return None

    def rule(modules: Sequence[Module]) -> Iterator[Breach]:
        for module in modules:
            home = connector(module.name)
            for found in sorted({one for target in module.inside if (one := connector(target)) is not None}):
                folder, child = found
                if home != found and module.name not in registries[folder]:
                    yield Breach(module.name, f"imports the connector {child}")

    return rule


def client_rooms(rooms: Mapping[str, Sequence[str]], everywhere: Collection[str]) -> Rule:
    """A library is imported in its rooms alone; only Python's own and those of `everywhere` need none."""

    def rule(modules: Sequence[Module]) -> Iterator[Breach]:
        free = {*everywhere, *sys.stdlib_module_names, *LAYERS, "millrace"}
        for module in modules:
            for library in sorted({target.split(".")[0] for target in module.outside} - free):
                if library not in rooms:
                    yield Breach(module.name, f"imports the library {library}, which has no room")
                elif not any(below(module.name, room) for room in rooms[library]):
                    yield Breach(module.name, f"imports the library {library}")

    return rule


def plain_names(modules: Sequence[Module]) -> Iterator[Breach]:
    """Modules are nouns of the field."""
    for module in modules:
        for part in module.name.split("."):
            if VAGUE.search(part):
                yield Breach(module.name, f"{part} says nothing of what is in it")


def no_cycles(modules: Sequence[Module]) -> Iterator[Breach]:
    """No module is reached again from what it imports; an import inside a function counts as any other."""
    targets = {module.name: module.inside - {module.name} for module in modules}
    done: set[str] = set()
    for start in targets:
        way: list[str] = []
        stack = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                done.add(way.pop())
            elif name in way:
                yield Breach(name, f"imports itself by way of {' -> '.join(way[way.index(name) + 1 :]) or name}")
            elif name not in done and name in targets:
                way.append(name)
                stack.append((name, True))
                stack.extend((target, False) for target in sorted(targets[name]))


def file_lengths(modules: Sequence[Module]) -> Iterator[Breach]:
    """A file has at most MAX_FILE lines, and at most LONG_FILE but for a short list."""
    for module in modules:
        lines = module.text.count("\n")
        if lines > MAX_FILE:
            yield Breach(module.path, f"more than {MAX_FILE} lines")
        elif lines > LONG_FILE:
            yield Breach(module.path, f"more than {LONG_FILE} lines")


def function_lengths(modules: Sequence[Module]) -> Iterator[Breach]:
    """A function has at most MAX_FUNCTION lines, decorators left out."""
    for module in modules:
        for function in module.functions:
            if (function.end_lineno or 0) - function.lineno + 1 > MAX_FUNCTION:
                yield Breach(f"{module.name}.{function.name}", f"more than {MAX_FUNCTION} lines")


def parameter_counts(modules: Sequence[Module]) -> Iterator[Breach]:
    """A function takes at most MAX_PARAMETERS beside self and cls; compiled loops, over bare arrays, are left out."""
    for module in modules:
        for function in module.functions:
            if any(COMPILED.search(ast.unparse(one)) for one in function.decorator_list):
                continue
            arguments = function.args
            names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            if len([name for name in names if name not in ("self", "cls")]) > MAX_PARAMETERS:
                yield Breach(f"{module.name}.{function.name}", f"more than {MAX_PARAMETERS} parameters")
