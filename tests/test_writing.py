"""One door for what is written: no module but `records/files.py` puts a file in its place, removes one, or holds a lock by itself."""

import ast
from collections.abc import Iterator

from records import folders
from tests.support.tree import ROOT

DOOR = "records/files.py"
PACKAGES = ("hikaku", "records", "search_spaces", "trainables", "analysis")
MOVES = {
    "rename",
    "renames",
    "fsync",
    "rmtree",
    "unlink",
    "mkdtemp",
    "mkstemp",
    "TemporaryDirectory",
    "NamedTemporaryFile",
    "FileLock",
    "flock",
}
WRITES = {"write_text", "write_bytes", "touch", "to_parquet", "to_csv", "to_pickle", "save_file", "savefig", "savez", "save_pretrained"}
HANDLERS = {"FileHandler", "RotatingFileHandler"}

BUILT = "writes into a folder that `build_folder`, or a checkpoint, is still building"
EXPLAINED = {
    ("hikaku/commands/repro.py", "TemporaryDirectory"): "a trial trained again and thrown away: nothing in it is to last",
    ("hikaku/search/cluster.py", "FileHandler"): "Ray's log, which logging writes line by line",
    ("records/runs.py", "mkdtemp"): "copies of artifacts, which are gone with the process",
    ("analysis/report/figures/palette.py", "savefig"): "draws into a text in memory, not into a file",
    ("trainables/corpora/tokens/attribution.py", "savez"): BUILT,
    ("trainables/corpora/tokens/writing.py", "np.save"): BUILT,
    ("trainables/corpora/tokens/writing.py", "to_parquet"): BUILT,
    ("trainables/jobs/export.py", "save_pretrained"): BUILT,
    ("trainables/methods/method.py", "save_pretrained"): BUILT,
    ("trainables/methods/adapter.py", "save_file"): BUILT,
    ("trainables/methods/adapter.py", "save_pretrained"): BUILT,
    ("trainables/models/pretraining.py", "save_file"): BUILT,
    ("trainables/models/pretraining.py", "save_pretrained"): BUILT,
    ("trainables/training/checkpoint.py", "save_file"): BUILT,
}


def find_writes(code: str) -> Iterator[str]:
    """Yield the name of each call that writes, moves or removes files, or locks one, past the door."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        owner_name = owner.id if isinstance(owner, ast.Name) else ""
        moves_a_table = name == "rename" and not node.args  # pandas renames columns, by keyword
        if (name in MOVES and not moves_a_table) or name in WRITES or name in HANDLERS:
            yield name
        elif owner_name == "np" and name == "save":
            yield "np.save"
        elif owner is not None and name == "replace" and (owner_name == "os" or len(node.args) == 1):  # of text it takes two
            yield "replace"
        elif name == "open" and _is_writing(node, 0 if owner is not None and owner_name not in ("os", "gzip", "io") else 1):
            yield "open"


def _is_writing(call: ast.Call, place: int) -> bool:
    """Return whether a call of open is given a mode, at `place` or by name, that is not one for reading alone."""
    given = [*call.args[place : place + 1], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return any(not (isinstance(mode, ast.Constant) and str(mode.value) in ("r", "rb", "rt")) for mode in given)


def _written_past_the_door() -> set[tuple[str, str]]:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    names = {path: path.relative_to(ROOT).as_posix() for path in files}
    return {(names[path], call) for path in files if names[path] != DOOR for call in find_writes(path.read_text(encoding="utf-8"))}


def test_nothing_is_written_past_the_door() -> None:
    assert _written_past_the_door() == set(EXPLAINED)


def test_what_writes_is_recognised() -> None:
    door = set(find_writes((ROOT / DOOR).read_text(encoding="utf-8")))
    assert {"write_bytes", "rename", "rmtree", "unlink", "fsync", "FileLock"} <= door
    writing = [
        "path.open('w')",
        "open(path, 'ab')",
        "open(path, mode=mode)",
        "os.replace(a, b)",
        "path.replace(other)",
        "np.save(path, array)",
    ]
    reading = ["path.open()", "path.open('rb')", "open(path)", "gzip.open(path)", "text.replace('a', 'b')", "table.rename(columns=names)"]
    assert [list(find_writes(code)) != [] for code in (*writing, *reading)] == [True] * len(writing) + [False] * len(reading)


def test_only_the_map_spells_the_names_of_the_state_folder() -> None:
    names = {value for name, value in vars(folders).items() if name.isupper()}
    assert {"optuna.db", "openings.jsonl", "result.json", "arms", "lock"} <= names
    elsewhere = {folders.CONFIG_FILE, folders.DOCUMENTS_FILE}  # which are also names of files in models and in texts in tokens
    spelt: set[str] = set()
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        texts = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
        paths = {str(node.right.value) for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)}
        # A word alone may mean other things, unless it ends a path.
        if (names - elsewhere) & ({text for text in texts if "." in text} | paths):
            spelt.add(path.relative_to(ROOT).as_posix())
    assert spelt == {"records/folders.py"}
