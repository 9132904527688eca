"""The shape of the house: imports go down, in no circle, every module has its place and says what it is, private doors are known.

The order of the rooms is read from the import contracts of pyproject.toml, the one place that says it. `python -m tests.support.house`
prints the figures.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.house import ROOMS, Contract, House, Import, read_contracts

MAY_NAME_A_METHOD = {"analysis.guidance.claim_book"}  # published figures are of LoRA or of full fine-tuning
MOST_MODULES = 18  # of one flat folder; commands/ has its one file a command


@cache
def this_house() -> House:
    return House()


ORDERS, DOORS = read_contracts()


def test_no_files_import_one_another_in_a_circle() -> None:
    assert this_house().find_circles() == []


def test_no_import_goes_from_a_lower_room_to_a_higher_one() -> None:
    assert [str(edge) for order in ORDERS for edge in this_house().imports if order.breaks(edge)] == []


def test_every_package_with_inner_rooms_has_one_exhaustive_contract() -> None:
    house = this_house()
    with_rooms = {package for package in house.packages if house.inner_packages(package)}
    orders = {order.container: order for order in ORDERS if order.container}
    assert with_rooms | set(ROOMS) <= orders.keys()
    assert len(orders) == sum(order.container is not None for order in ORDERS), "two contracts for one package"
    assert all(order.exhaustive for order in orders.values())
    assert {package: set(order.floor_of) for package, order in orders.items()} == {package: house.modules_in(package) for package in orders}


def test_the_top_level_is_one_contract_of_all_packages() -> None:
    (top,) = [order for order in ORDERS if order.container is None]
    assert set(top.floor_of) == set(ROOMS)


def test_libraries_are_imported_at_their_doors_alone() -> None:
    assert {door.library for door in DOORS} >= {"mlflow", "ray", "optuna", "deepspeed", "peft", "sudachipy"}
    for door in DOORS:
        imports = this_house().import_places(door.library)
        assert imports, f"{door.library} has a contract and is imported nowhere"
        assert [str(edge) for edge in imports if not door.admits(edge.importer)] == []


def test_every_package_and_module_says_what_lives_there() -> None:
    for module, tree in this_house().trees.items():
        said = ast.get_docstring(tree) or ""
        assert len(said.split()) >= 2, f"{module} has no docstring that says what it is"
        assert not said.upper().startswith("TODO"), f"{module}: {said}"


def test_a_method_is_asked_and_not_named_outside_the_methods() -> None:
    naming = {place.module for place in this_house().find_method_names()}
    assert naming <= MAY_NAME_A_METHOD, "ask the method for what differs, as trainables/methods/method.py declares it"


def test_the_id_of_a_run_is_taken_apart_and_put_together_in_one_module() -> None:
    assert [str(place) for place in this_house().find_uid_parsers()] == []
    assert [str(place) for place in this_house().find_uid_makers()] == []


def test_no_folder_is_a_hallway() -> None:
    flat = this_house().count_flat_modules()
    assert {package: count for package, count in flat.items() if count > MOST_MODULES and package != "hikaku.commands"} == {}


# -- that the above can fail -------------------------------------------------------------------------------------


@pytest.fixture
def crooked(tmp_path: Path) -> House:
    """A house of two rooms with a circle, an import up inside a function, one for the type checker alone, and one by a relative name."""
    files = {
        "above/__init__.py": '"""Above."""',
        "above/door.py": "from below import ground\nfrom . import window",
        "above/window.py": "def look():\n    from above.door import x",
        "below/__init__.py": "",
        "below/ground.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import above.window",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return House(tmp_path, ("above", "below"))


def test_a_crooked_house_is_seen(crooked: House) -> None:
    assert set(crooked.imports) == {
        Import("above.door", "below.ground", 1),
        Import("above.door", "above.window", 2),
        Import("above.window", "above.door", 2),
        Import("below.ground", "above.window", 3),
    }
    assert crooked.find_circles() == [["above.door", "above.window", "below.ground"]]
    order = Contract("", None, (("above",), ("below",)), exhaustive=True)
    assert [edge for edge in crooked.imports if order.breaks(edge)] == [Import("below.ground", "above.window", 3)]
    beside = Contract("", "above", (("door", "window"),), exhaustive=True)
    assert len([edge for edge in crooked.imports if beside.breaks(edge)]) == 2


def test_named_methods_and_uids_handled_by_hand_are_seen(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    lines = [
        'a = method.name == "lora" or method.name == "full"',
        'b = finalists["full"]',
        "c = isinstance(method, Lora | Other)",
        "match method:\n    case Full():\n        pass\n    case 'lora':\n        pass",
        'study, arm = uid.split("/")',
        'd = run.uid.count("/")',
        'e = [folder for folder in folders if folder.startswith(f"{uid}/")]',
        'f = metric.split("/"), name == "a full name", isinstance(method, Method)',
        'g = f"{study.name}/base"',
        'h = f"{self.uid}/{SEED}{index}"',
        'i = f"{trial}/seed-{index}"',
        'j = f"{run.uid}: {outcome}", f"test/{name}", f"{study}/{arm}"',
    ]
    (tmp_path / "room" / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    house = House(tmp_path, ("room",))
    assert [place.line for place in house.find_method_names()] == [1, 2, 3, 5, 7]
    assert [place.line for place in house.find_uid_parsers()] == [9, 10, 11]
    assert sorted(place.line for place in house.find_uid_makers()) == [11, 13, 14, 15]
