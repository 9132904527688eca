"""Every durable write there is, killed before each of its operations on the disk; run as `python -m tests.support.last_operation FOLDER`.

One process imports what writes, then forks a child for every operation: the child's write ends there by SIGKILL. A file that is not yet
brought to the disk is cut in half before, as a crash of the whole machine may leave it, and a folder that is being removed loses a file.
What then lies in each place is compared with the old and the new content; then the same is written again, unharmed, and must leave the new
content alone. Training is stood in for, and torch not imported. One line of JSON for each kind of write goes to the terminal: a `Report`.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from hikaku.commands import export
from hikaku.search import trial_store
from hikaku.study.folder import lock_study, save_identity
from records import files, tracking
from records.files import append_line, build_folder, digest_file, digest_folder, hold, sweep
from records.folders import CHECKPOINTS_FOLDER, DATA_FOLDER, OPENINGS_FILE, REFEREE_LOCK, TRIALS_DATABASE, WEIGHTS_FOLDER
from records.refusals import Refusal
from records.results import Outcome, Result, RungReport, hold_run, save_result
from trainables.corpora.cleaning.cleaning import Preparation, prepare_folder
from trainables.corpora.reading.hub import fetch_data_set
from trainables.corpora.sources import DataSet
from trainables.corpora.tokens import writing
from trainables.corpora.tokens.attribution import ByteSpans
from trainables.corpora.tokens.tokenizer import Tokenizer
from trainables.corpora.tokens.writing import prepare_data
from trainables.evaluation.documents import COLUMNS, write_documents
from trainables.models.embedded import ensure_embedded
from trainables.models.recipes import TINY
from trainables.training.checkpoint import Checkpoints, Progress, read_checkpoint

Write = Callable[[Path, str], object]  # writes "old" or "new" content somewhere in a folder
TIMEOUT = 60


@dataclass
class Report:
    """What came of the kills of one kind of write: its operations, and a line for everything that was not as it should be."""

    name: str
    operations: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


# -- what is written -----------------------------------------------------------------------------------------


def write_result(folder: Path, content: str) -> None:
    with hold_run(folder / "run"):
        save_result(
            folder / "run", Result(uid="a/b/0", outcome=Outcome.COMPLETED, reason=content, tokens=1, metrics={}, started=1, ended=2)
        )


def write_table(folder: Path, content: str) -> None:
    import pandas as pd

    row = dict.fromkeys(COLUMNS, 1.0) | {"set": "japanese", "split": "validation", "document": content, "stratum": "simple"}
    with hold_run(folder / "run"):
        write_documents(folder / "run", pd.DataFrame([row]))


def write_checkpoints(folder: Path, content: str) -> None:
    """Save steps 1 and 2; then 2 again, after a resume, and 3, which lets go of all but 1, the best."""
    with hold_run(folder / "run"):
        checkpoints = Checkpoints(folder / "run" / CHECKPOINTS_FOLDER, rank=0, keep_best=1, barrier=lambda: None)
        for step, loss in [(1, 1.0), (2, 2.0)] if content == "old" else [(2, 2.5), (3, 3.0)]:
            rung = RungReport(tokens=step, metrics={}, unix_time=1.0)
            progress = Progress(world_size=1, zero_stage=0, step=step, rungs=[rung], validation_loss=loss)
            checkpoints.save(progress, {}, {"content": content}, lambda weights: write_weights_into(weights, content))


def end_trial(folder: Path, content: str) -> None:
    """Drop of the checkpoints what only training needs."""
    if content == "old":
        write_checkpoints(folder, content)
    else:
        with hold_run(folder / "run"):
            Checkpoints(folder / "run" / CHECKPOINTS_FOLDER, rank=0, keep_best=1, barrier=lambda: None).drop_states(2)


def write_weights(folder: Path, content: str) -> None:
    with hold_run(folder / "run"), build_folder(folder / "run" / WEIGHTS_FOLDER, replaces=True) as building:
        write_weights_into(building / "model", content)


def write_weights_into(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(content.encode())
    (folder / "config.json").write_text(json.dumps(content))


def write_tokens(folder: Path, content: str) -> None:
    lines = [json.dumps({"text": f"{content} {word} {number}" * 3}) for number, word in enumerate(["cat", "rain", "roof"] * 4)]
    texts = Path(f"{content}.jsonl")
    texts.write_text("\n".join(lines))
    sets = {"english": DataSet(role="adapt", path=str(texts), format="jsonl")}
    prepare_data(sets, Path(), 16, folder / DATA_FOLDER, replace=True)


def write_clean_folder(folder: Path, content: str) -> None:
    """Write the same texts with another card."""
    texts = Path("texts.jsonl")
    texts.write_text("\n".join(json.dumps({"text": f"Text {number}: {'abcdefgh'[number % 8] * 9}."}) for number in range(20)))
    prepare_folder({"texts": texts}, folder / "clean", Preparation(keep_duplicates=content == "old"), {})


def write_study(folder: Path, content: str) -> None:
    study: Any = SimpleNamespace(name="small")
    with lock_study(study, folder / "small"):
        save_identity(folder / "small", {"seed": content})
        openings = folder / "small" / OPENINGS_FILE
        if not openings.exists() or content not in openings.read_text():  # what was opened already is not opened again
            append_line(openings, content)


def write_trials(folder: Path, _: str) -> None:
    study: Any = SimpleNamespace(storage=None)
    with hold(folder / REFEREE_LOCK):
        sweep(folder, TRIALS_DATABASE)
        trial_store.open_storage(study, folder)


def write_store(folder: Path, _: str) -> None:
    tracking.create_store(folder)


def write_export(folder: Path, _: str) -> None:
    runs: Any = SimpleNamespace(name="small")
    source: Any = SimpleNamespace(id="owner/name")
    with contextlib.suppress(Refusal):  # where an export is there: it is there whole
        export.export_trial(runs, source, folder, "best", folder / "taken" / "home", merge=False)


def fetch_texts(folder: Path, _: str) -> None:
    def fetch(**request: Any) -> None:
        (request["local_dir"] / "train.jsonl").write_text("{}\n")
        (request["local_dir"] / ".cache").mkdir()

    fetch_data_set(f"hub:owner/name@{'0a' * 20}", folder / "cache", fetch)


def train_embedded(folder: Path, _: str) -> None:
    ensure_embedded(folder / "cache", recipe=TINY, show_progress=False)


WRITES: dict[str, Write] = {
    "result": write_result,
    "documents": write_table,
    "checkpoints": write_checkpoints,
    "checkpoints of an ended trial": end_trial,
    "weights": write_weights,
    "texts in tokens": write_tokens,
    "clean texts": write_clean_folder,
    "clean texts' card": write_clean_folder,
    "study": write_study,
    "trials": write_trials,
    "MLflow's store": write_store,
    "export": write_export,
    "texts of the hub": fetch_texts,
    "embedded model": train_embedded,
}
BEGUN = ("result", "documents", "checkpoints", "checkpoints of an ended trial", "weights", "texts in tokens", "clean texts' card", "study")


def put_stand_ins() -> None:
    """Have what takes long, or needs torch, write a little at once."""

    def module(name: str, **content: object) -> None:
        made = ModuleType(name)
        vars(made).update(content)
        sys.modules[name] = made

    def write_bytes(content: object, path: Path) -> None:
        path.write_bytes(repr(content).encode())

    def write_exported(config: object, weights: object, folder: Path, *_: object, **__: object) -> None:
        (folder / "adapter.safetensors").write_bytes(b"adapter")

    @dataclass
    class Agreement:
        is_good: bool = True
        relative: float = 0.0

    os.fsync = lambda fd: None  # thousands of them take long, and what a killed process wrote the kernel keeps
    module("safetensors.torch", save_file=write_bytes)
    written = {"write_model": write_exported, "compare_export": lambda *_, **__: Agreement(), "writes_adapter": lambda *_, **__: True}
    module("trainables.jobs.export", **written)
    module("hikaku.commands.model_card", CARD_FILE="README.md", render_card=lambda *_: "A card.")
    module("trainables.models.pretraining", pretrain=lambda *arguments, **_: write_weights_into(arguments[3] / "model", "trained"))
    found = SimpleNamespace(uid="small/lora/0", run_id="1", params={}, metrics={"eval/perplexity": 2.0}, facts={}, tags={})
    saved = SimpleNamespace(config=SimpleNamespace(method=None), weights=Path(), folder=Path())
    modules: Any = (export, writing, tracking)
    modules[0].choose_run, modules[0].find_model = lambda *_: found, lambda *_: saved
    modules[1].load_text_tokenizer = lambda _: make_tokenizer()
    modules[2]._create_schema = lambda database, artifacts: database.write_bytes(b"a store")


def make_tokenizer() -> Tokenizer:
    """Return a tokenizer of bytes; reading one from a model's folder would import torch."""
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    backend = Backend(BPE(vocab={letter: place for place, letter in enumerate(sorted(ByteLevel.alphabet()), start=1)}, merges=[]))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return Tokenizer(SimpleNamespace(backend_tokenizer=backend), 0, 0, 0, "bytes", ByteSpans(backend).find)


# -- the kills -----------------------------------------------------------------------------------------------


def die_before(number: int) -> Callable[[files.Operation, Path], None]:
    """Return what kills this process before its `number`-th operation."""
    count = itertools.count(1)

    def before(operation: files.Operation, path: Path) -> None:
        if next(count) == number:
            if operation == "flush" and path.is_file():
                os.truncate(path, path.stat().st_size // 2)
            if operation == "remove" and path.is_dir():
                for file in [file for file in path.rglob("*") if file.is_file()][:1]:
                    file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def run_child(write: Write, folder: Path, before: Callable[[files.Operation, Path], None]) -> int:
    """Return how a child ended that wrote the new content: minus the signal that killed it, or its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            signal.alarm(TIMEOUT)
            files.before = before
            write(folder, "new")
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_everywhere(name: str, root: Path) -> Report:
    """Return what came of killing one kind of write before each of its operations."""
    report, write = Report(name), WRITES[name]
    old, new = root / "old", root / "new"
    old.mkdir(parents=True)
    os.chdir(root)
    if name in BEGUN:
        write(old, "old")
    shutil.copytree(old, new)
    files.before = lambda operation, path: report.operations.append(f"{operation} {path.relative_to(new)}")
    write(new, "new")
    files.before = lambda operation, path: None
    whole = [dict(_read_places(old)), dict(_read_places(new))]
    for number, operation in enumerate(report.operations, start=1):
        killed = root / "killed" / str(number)
        shutil.copytree(old, killed)
        if (code := run_child(write, killed, die_before(number))) != -signal.SIGKILL:
            report.faults.append(f"before {operation}: ended with {code}")
        for place, digest in _read_places(killed):
            if digest not in [places.get(place) for places in whole] and not _is_whole_checkpoint(killed / place):
                report.faults.append(f"before {operation}: {place} is neither old nor new")
        for folder in [killed, *(path for path in killed.rglob("*") if path.is_dir())]:
            files.sweep(folder)
        if lost := whole[0].keys() & whole[1].keys() - dict(_read_places(killed)).keys():
            report.faults.append(f"before {operation}: lost {lost}")
        write(killed, "new")
        if dict(_read_places(killed)) != whole[1]:
            report.faults.append(f"before {operation}: writing again does not end with the new content")
        report.faults += [f"before {operation}: {path.relative_to(killed)} is left" for path in killed.rglob(".*")]
    return report


def _read_places(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every place that somebody reads and a digest of what lies there: a file, or a folder that comes and goes as a whole."""
    wholes = (WEIGHTS_FOLDER, DATA_FOLDER, "home", "clean")
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_lock = name.name == "lock.json" or name.name.endswith("lock")
        if is_lock or any(part.startswith(".") for part in name.parts) or any(whole in path.parents for whole in found):
            continue
        if path.is_dir() and (name.name in wholes or name.name.isdecimal() or name.parent.name == "cache"):
            found.append(path)
            yield str(name), digest_folder(path, "**/[!.]*")
        elif path.is_file():
            yield str(name), digest_file(path)


def _is_whole_checkpoint(folder: Path) -> bool:
    """Return whether a checkpoint is all that its manifest says: one that loses its states is in between, but no part."""
    return folder.parent.name == CHECKPOINTS_FOLDER and read_checkpoint(folder) is not None


def main(root: Path) -> None:
    put_stand_ins()
    for number, name in enumerate(WRITES):
        print(json.dumps(asdict(kill_everywhere(name, root / str(number)))), flush=True)
    assert "torch" not in sys.modules


if __name__ == "__main__":
    main(Path(sys.argv[1]))
