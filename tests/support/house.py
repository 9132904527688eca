"""The house as its files say it: modules, the imports between them, the rooms that pyproject's contracts name, and figures of them.

`python -m tests.support.house` prints the figures, and in which places each of them stands.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.tree import ROOT

ROOMS = ("hikaku", "records", "search_spaces", "trainables", "analysis")
METHOD_NAMES, METHOD_CLASSES = {"lora", "full"}, {"Lora", "Full"}
METHODS = "trainables.methods"  # where a method may be asked for its name
UID_PARSER = "records.run_id"  # where a run's id may be taken apart
TAKES_APART = {"split", "rsplit", "partition", "rpartition", "count", "startswith", "endswith", "removeprefix", "removesuffix"}
HOLDS_A_UID = re.compile(r"\b(\w*uid\w*|finalist|trial)\b")  # what a variable that holds a run's id is called here


@dataclass(frozen=True)
class Import:
    """One import statement's edge: which module imports which, and in which line."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


@dataclass(frozen=True)
class Place:
    """A line of a module, with the code that stands there."""

    module: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.code}"


@dataclass(frozen=True)
class Contract:
    """An order of rooms: `floors` from the top one down, each with the rooms that stand side by side on it."""

    name: str
    container: str | None  # the package whose rooms these are; None for the top level
    floors: tuple[tuple[str, ...], ...]
    exhaustive: bool

    @cached_property
    def floor_of(self) -> dict[str, int]:
        """Return the floor of each room by its whole name, 0 the highest."""
        prefix = f"{self.container}." if self.container else ""
        return {prefix + room: number for number, floor in enumerate(self.floors) for room in floor}

    def room_of(self, module: str) -> str | None:
        """Return the room that a module is or lies in, or None where it lies in none of these."""
        return next((room for room in self.floor_of if module == room or module.startswith(f"{room}.")), None)

    def breaks(self, edge: Import) -> bool:
        """Return whether an import goes to a higher floor, or to another room of the same one."""
        importer, imported = self.room_of(edge.importer), self.room_of(edge.imported)
        if importer is None or imported is None or importer == imported:
            return False
        return self.floor_of[imported] <= self.floor_of[importer]


@dataclass(frozen=True)
class Door:
    """A library, and the modules that alone may import it; `trainables.methods.*` stands for all modules of that package."""

    library: str
    barred: tuple[str, ...]  # the rooms that must not import it, but for the doors
    doors: tuple[str, ...]

    def admits(self, module: str) -> bool:
        """Return whether a module may import the library."""
        if not any(module == room or module.startswith(f"{room}.") for room in self.barred):
            return True
        return any(re.fullmatch(re.escape(door).replace(r"\*", r"[^.]+"), module) for door in self.doors)


class House:
    """All modules under some packages of a folder, parsed once."""

    def __init__(self, root: Path = ROOT, rooms: Sequence[str] = ROOMS) -> None:
        self.root = root
        files = sorted(file for room in rooms for file in (root / room).rglob("*.py"))
        self.files = {_module_name(file.relative_to(root)): file for file in files}
        self.trees = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in self.files.items()}

    @cached_property
    def packages(self) -> set[str]:
        """Return the modules that are folders."""
        return {module for module, file in self.files.items() if file.name == "__init__.py"}

    @cached_property
    def imports(self) -> list[Import]:
        """Return all imports between the modules: those inside functions and those for the type checker alone as well."""
        return [
            Import(module, target, line)
            for module in self.trees
            for target, line in self._imports_of(module)
            if target in self.files and target != module
        ]

    def import_places(self, library: str) -> list[Import]:
        """Return the imports of an outside library, or of anything in it."""
        return [
            Import(module, target, line)
            for module in self.trees
            for target, line in self._imports_of(module)
            if target == library or target.startswith(f"{library}.")
        ]

    def _imports_of(self, module: str) -> Iterator[tuple[str, int]]:
        """Yield what a module imports, as whole names, with the line: `from a import b` is `a.b` where that is a module, else `a`."""
        package = module if module in self.packages else module.rpartition(".")[0]
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    whole = f"{source}.{alias.name}"
                    yield (whole if whole in self.files else source), node.lineno

    def find_circles(self) -> list[list[str]]:
        """Return the circles between files: each the modules that all reach one another by imports."""
        targets: dict[str, set[str]] = defaultdict(set)
        for edge in self.imports:
            targets[edge.importer].add(edge.imported)
        reached = {module: _reach(module, targets) for module in self.files}
        circles = {frozenset(other for other in reached[module] if module in reached[other]) for module in self.files}
        return [sorted(circle) for circle in circles if circle]

    def inner_packages(self, package: str) -> set[str]:
        """Return the packages that lie right in a package."""
        return {name for name in self.packages if name.rpartition(".")[0] == package}

    def modules_in(self, package: str) -> set[str]:
        """Return the modules and packages that lie right in a package."""
        return {name for name in self.files if name.rpartition(".")[0] == package}

    def count_flat_modules(self) -> dict[str, int]:
        """Return how many files, its `__init__.py` aside, lie right in each folder."""
        return {package: len(self.modules_in(package) - self.packages) for package in sorted(self.packages)}

    def find_method_names(self) -> list[Place]:
        """Return the lines outside the methods' own package where a method stands by its name, or is asked for by its class."""
        places = {
            (module, node.lineno): node
            for module, tree in self.trees.items()
            if module != METHODS and not module.startswith(f"{METHODS}.")
            for node in ast.walk(tree)
            if isinstance(node, ast.expr | ast.pattern) and _names_a_method(node)
        }
        return [Place(module, line, self._line(module, line)) for module, line in sorted(places)]

    def find_uid_parsers(self) -> list[Place]:
        """Return where a run's id is taken apart by hand, outside the module that is there for it."""
        return [
            Place(module, node.lineno, self._line(module, node.lineno))
            for module, tree in self.trees.items()
            if module != UID_PARSER
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and _takes_a_uid_apart(node)
        ]

    def find_uid_makers(self) -> list[Place]:
        """Return where a run's id is put together by hand, outside the module that is there for it."""
        return [
            Place(module, node.lineno, self._line(module, node.lineno))
            for module, tree in self.trees.items()
            if module != UID_PARSER
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr) and _puts_a_uid_together(node)
        ]

    def find_private_doors(self) -> list[Place]:
        """Return where something private of a library is used: an underscored module, or an attribute that the module does not define."""
        return [
            Place(module, node.lineno, name)
            for module, tree in self.trees.items()
            for defined in [_defined_names(tree)]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Attribute)
            for name in _private_names(node, defined)
        ]

    def _line(self, module: str, line: int) -> str:
        return self.files[module].read_text(encoding="utf-8").splitlines()[line - 1].strip()


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _reach(start: str, targets: Mapping[str, set[str]]) -> set[str]:
    """Return all modules that can be reached from one by at least one import."""
    reached: set[str] = set()
    waiting = [*targets[start]]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(targets.get(module, ()))
    return reached


def _names_a_method(node: ast.expr | ast.pattern) -> bool:
    """Return whether a node is a method's name, or asks whether something is of a method's class."""
    match node:
        case ast.Constant(value=value):
            return value in METHOD_NAMES
        case ast.MatchClass(cls=ast.Name(id=name)):
            return name in METHOD_CLASSES
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, classes]):
            return any(isinstance(part, ast.Name) and part.id in METHOD_CLASSES for part in ast.walk(classes))
        case _:
            return False


def _takes_a_uid_apart(call: ast.Call) -> bool:
    """Return whether a call cuts at, counts or looks for a slash, and a variable in it is named as runs' ids are."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in TAKES_APART:
        return False
    slash = any(isinstance(part, ast.Constant) and "/" in str(part.value) for argument in call.args for part in ast.walk(argument))
    return slash and HOLDS_A_UID.search(ast.unparse(call)) is not None


def _puts_a_uid_together(text: ast.JoinedStr) -> bool:
    """Return whether an f-string writes a slash behind what is named as runs' ids are, or the words of an id: `/base`, `seed-`."""
    for part, follower in zip(text.values, [*text.values[1:], ast.Constant("")], strict=True):
        behind = str(follower.value) if isinstance(follower, ast.Constant) else ""
        names_an_id = isinstance(part, ast.FormattedValue) and HOLDS_A_UID.search(ast.unparse(part.value)) is not None
        if (names_an_id and behind.startswith("/")) or behind in ("/base", "/seed-", "seed-"):
            return True
    return False


def _defined_names(tree: ast.Module) -> set[str]:
    """Return the functions, classes and attributes that a module itself makes."""
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return made | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}


def _private_names(node: ast.ImportFrom | ast.Attribute, defined: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        if node.attr.startswith("_") and not node.attr.startswith("__") and node.attr not in defined:
            yield node.attr
    elif node.module and node.module != "__future__":
        wholes = (f"{node.module}.{alias.name}" for alias in node.names)
        yield from (whole for whole in wholes if any(part.startswith("_") for part in whole.split(".")))


def read_contracts(root: Path = ROOT) -> tuple[list[Contract], list[Door]]:
    """Return the orders of rooms and the doors of libraries, from pyproject's import contracts: the one place that says them."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    orders, doors = [], []
    for contract in settings:
        if contract["type"] == "layers":
            orders.extend(_read_order(contract))
        else:
            doors.extend(_read_doors(contract))
    return orders, doors


def _read_order(contract: Mapping[str, Any]) -> Iterator[Contract]:
    floors = tuple(tuple(room.strip(" ()") for room in floor.split("|")) for floor in contract["layers"])
    for container in contract.get("containers", [None]):
        yield Contract(contract["name"], container, floors, contract.get("exhaustive", False))


def _read_doors(contract: Mapping[str, Any]) -> Iterator[Door]:
    ignored = [line.split(" -> ") for line in contract.get("ignore_imports", [])]
    for library in contract["forbidden_modules"]:
        yield Door(library, tuple(contract["source_modules"]), tuple(module for module, target in ignored if target == library))


def print_figures(root: Path = ROOT) -> None:
    """Print what the shape of the house comes to, each figure with its places."""
    house = House(root)
    orders, _ = read_contracts(root)
    flat = house.count_flat_modules()
    largest = max((package for package in flat if not package.endswith(".commands")), key=lambda package: flat[package])
    up = [edge for order in orders for edge in house.imports if order.breaks(edge)]
    figures: dict[str, Sequence[object]] = {
        "circles between files": [" -> ".join(circle) for circle in house.find_circles()],
        "imports from a lower room to a higher one, or between rooms side by side": up,
        "lines that name a method, or ask for its class, outside the methods": house.find_method_names(),
        "places that take a run's id apart, outside the parser": house.find_uid_parsers(),
        "places that put a run's id together, outside the parser": house.find_uid_makers(),
    }
    print(f"modules: {len(house.files) - len(house.packages)} in {len(house.packages)} packages")
    print(f"largest flat folder: {largest}, {flat[largest]} modules")
    for name, places in figures.items():
        print(f"{name}: {len(places)}")
        for place in places:
            print(f"    {place}")


if __name__ == "__main__":
    print_figures()
