"""A study's driver killed at an instant of every phase, with an MLflow that answers or hangs; then the same study is run to its end.

The whole launch runs, with real training and reports, but without Ray (tests/support/local_launch.py), in a process of its own that ends
itself by SIGKILL when the instant comes. MLflow is the store in the state folder, or a real server, which is stopped by SIGSTOP to hang:
what it was sent then, it reads when it goes on, as a server does that was merely slow. No trial may be lost, done twice or decided anew,
no run doubled or left RUNNING, and exit codes are 0 for a study with its report, 1 where MLflow lacks something.
`python -m tests.faults.kills [--stores STORE …] [--instants N …]` prints a line a case and one JSON line.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import deepspeed  # noqa: F401 (what takes seconds to import is imported once, before the processes that are killed)
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

import analysis.report.report  # noqa: F401
from hikaku.search.standing import read_standing
from hikaku.study.study import Study
from records.runs import UID, connect, read_study_runs, search_runs
from records.tracking import RunRecord, Tracker, create_store
from tests.support.forked import DIED, call_apart
from tests.support.local_launch import launch
from tests.support.small_study import describe_study

Store = Literal["local", "served", "hung at start", "hung at resume"]
STORES: tuple[Store, ...] = ("local", "served", "hung at start", "hung at resume")
# A word that the launch says or passes, and which time it does: then it is killed.
INSTANTS: tuple[tuple[str, int], ...] = (
    ("say", 1),  # before the texts are made tokens
    ("say", 3),  # begun, with its birth
    ("base", 1),
    ("write", 1),  # the first run is about to be written to MLflow
    ("before report", 1),  # the first rung was trained, and is not told yet
    ("before finish", 1),  # the first trial has left its result, and is not told yet
    ("before report", 4),
    ("before finish", 4),
    ("again", 1),  # a finalist is about to be trained again
    ("again", 2),
    ("test", 1),  # the test split is about to be opened for the base
    ("close", 1),  # all that is left is to bring MLflow up to date
    ("created", 2),  # a run was made in MLflow, and has no values yet
    ("report", 1),
)
PATIENCE, SILENCE = (4.0, 60.0), ("2", "15")  # seconds that a launch waits for an MLflow that hangs or answers, at its end and for a byte


@dataclass
class Server:
    """A real MLflow server on this machine, over one SQLite file in `root`."""

    root: Path
    uri: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Serve until the block ends."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        create_store(self.root)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.root}/mlflow.db", "--artifacts-destination", str(self.root / "artifacts")]
        with (self.root / "server.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait()
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _wait(self) -> None:
        until = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).read()
            except OSError:
                assert time.monotonic() < until, (self.root / "server.log").read_text()
                time.sleep(0.2)
            else:
                return

    @contextlib.contextmanager
    def hang(self) -> Iterator[None]:
        """Have the server answer nobody until the block ends."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)


@dataclass
class Case:
    """One study, killed once: where, with which MLflow, and what was wrong afterwards."""

    store: Store
    word: str
    times: int
    root: Path
    server: Server | None = None
    is_short: bool = False  # one trial an arm, none trained again
    wrong: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        return f"{self.store} {self.word} {self.times}".replace(" ", "-")

    @property
    def uri(self) -> str:
        return self.server.uri if self.server else f"sqlite:///{self.root}/mlflow.db"

    def make_study(self) -> Study:
        described = describe_study(self.root, "fp32")
        config = self.root / "model" / "config.json"  # a context in which samples fit
        config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 512}))
        changes: dict[str, Any] = {"name": self.name, "tracking": {"uri": self.server.uri}} if self.server else {"name": self.name}
        changes |= {"budget": described["budget"] | {"trials": 1}} if self.is_short else {"finalists": {"best": 1, "seeds": 1}}
        return Study.model_validate(described | changes)

    def drive(self, study: Study, *, hangs: bool = False, is_killed: bool = False) -> dict[str, Any]:
        """Return the exit code and the lines of a launch, or that its process died at the case's instant."""

        def work() -> dict[str, Any]:
            seen: Counter[str] = Counter()
            lines: list[str] = []

            def pass_by(word: str) -> None:
                for wanted in {wanted for wanted, _ in INSTANTS}:
                    if word.startswith(wanted):
                        seen[wanted] += 1
                        if is_killed and (wanted, seen[wanted]) == (self.word, self.times):
                            os.kill(os.getpid(), signal.SIGKILL)

            def say(line: str) -> None:
                lines.append(line)
                pass_by("say")

            watch_writing(pass_by)
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = SILENCE[not hangs]
            summary = launch(study, self.root, say, pass_by, patience=PATIENCE[not hangs])
            return {"code": summary.exit_code, "lines": lines}

        return call_apart(work)

    def run(self) -> dict[str, Any]:
        """Return what was wrong, if anything, with the launch that was killed and those after it."""
        study = self.make_study()
        folder = self.root / study.name
        hangs = self.store == "hung at start"
        with self.server.hang() if self.server and hangs else contextlib.nullcontext():
            first = self.drive(study, hangs=hangs, is_killed=True)
        is_reached = first.get("error") == DIED
        if not is_reached:  # with an MLflow that hangs nothing is created there, and there is no report
            self.check(hangs and self.word in ("created", "report"), f"never came to its instant: {first}")
            self.check(first.get("code") == 1, f"exit code {first}")
        before = call_apart(lambda: read_outcomes(study, folder))
        results = {path: path.read_bytes() for path in folder.rglob("result.json")}
        if self.store == "hung at resume" and self.server:
            with self.server.hang():
                silent = self.drive(study, hangs=True)
            self.check(silent.get("code") == 1, f"exit code with an MLflow that hangs: {silent}")
            self.check(any("MLflow" in line for line in silent.get("lines", ())), f"not said of MLflow: {silent}")
        last = self.drive(study)
        self.check(last.get("code") == 0, f"exit code at the end: {last}")
        after = call_apart(lambda: read_outcomes(study, folder))
        planned = study.budget.trials * len(study.arms)
        self.check(len(after) == planned and None not in after.values(), f"lost: {after}")
        self.check(all(outcome is None or after.get(uid) == outcome for uid, outcome in before.items()), f"decided anew: {before} {after}")
        now = {path: path.read_bytes() for path in folder.rglob("result.json")}
        again = [str(path) for path in results if path not in now or read_training(now[path]) != read_training(results[path])]
        self.check(not again, f"trained again: {again}")
        told = call_apart(lambda: audit(study, self.uri, folder))
        self.wrong += told["wrong"] if "wrong" in told else [str(told)]
        return {"case": self.name, "reached": is_reached, "wrong": self.wrong}

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise[-900:])


def watch_writing(pass_by: Any) -> None:
    """Have a word passed before each record is written to MLflow, and after each run is made there."""
    write, write_values = Tracker.write, Tracker._write_values

    def watched(self: Tracker, record: RunRecord) -> None:
        pass_by(f"write {record.uid}")
        write(self, record)

    def watched_values(self: Tracker, run: str, record: RunRecord) -> None:
        pass_by(f"created {record.uid}")
        write_values(self, run, record)

    Tracker.write, Tracker._write_values = watched, watched_values


def read_outcomes(study: Study, folder: Path) -> dict[str, Any]:
    """Return by uid how the trials ended, None of those that have not."""
    if not (folder / "optuna.db").exists():
        return {}
    return {row.uid: None if row.outcome is None else str(row.outcome) for row in read_standing(study, folder).snapshot()}


def read_training(result: bytes) -> Any:
    """Return what of a result training wrote; opening the test split adds to its metrics."""
    read = json.loads(result)
    return read["outcome"], read["tokens"], read["started"], read["curve"]


def audit(study: Study, uri: str, folder: Path) -> dict[str, Any]:
    """Return what is wrong with what MLflow holds of a study that was run to its end."""
    client = connect(uri)
    experiments = [each for each in client.search_experiments() if each.name.startswith(study.name)]
    runs = [run for experiment in experiments for run in search_runs(client, experiment.experiment_id)]
    counts = Counter(run.data.tags[UID] for run in runs)
    wrong = [f"doubled: {uid} {count}" for uid, count in counts.items() if count > 1]
    wrong += [f"{run.info.status}: {run.data.tags[UID]}" for run in runs if run.info.status == "RUNNING"]
    wrong += [] if len(experiments) == 1 else [f"experiments: {[each.name for each in experiments]}"]
    standing = read_standing(study, folder)
    expected = {study.name, f"{study.name}/base", *map(str, standing.trials()), *map(str, standing.replicates())}
    wrong += [] if counts.keys() == expected else [f"lost or foreign: {sorted(counts.keys() ^ expected)}"]
    read = read_study_runs(study.name, uri)
    told = {run.uid: run.outcome for run in read.trials}
    ended = {row.uid: None if row.outcome is None else str(row.outcome) for row in standing.snapshot()}
    wrong += [] if told == ended else [f"MLflow {told}, Optuna {ended}"]
    opened = [json.loads(line)["uid"] for line in (folder / "openings.jsonl").read_text().splitlines()]
    wrong += [] if len(set(opened)) == 3 else [f"openings: {opened}"]
    report = (folder / "report.md").read_text(encoding="utf-8") if (folder / "report.md").exists() else ""
    wrong += [] if f"{len(ended)} trials: " in report else ["no report of so many trials"]
    return {"wrong": wrong}


def run_cases(stores: Sequence[Store], instants: Sequence[tuple[str, int]], *, is_short: bool = False) -> list[dict[str, Any]]:
    """Return a row for each store and instant."""
    rows: list[dict[str, Any]] = []
    root = Path(tempfile.mkdtemp())
    server = Server(root / "server") if set(stores) - {"local"} else None
    if server:
        server.root.mkdir()
    with server.run() if server else contextlib.nullcontext():
        for store in stores:
            for word, times in instants:
                place = root / f"{store} {word} {times}".replace(" ", "-")
                place.mkdir()
                began = time.monotonic()
                row = Case(store, word, times, place, None if store == "local" else server, is_short).run()
                rows.append(row | {"seconds": round(time.monotonic() - began, 1)})
                sys.stderr.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
                if not row["wrong"]:
                    shutil.rmtree(place)
    if not any(row["wrong"] for row in rows):
        shutil.rmtree(root)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--instants", nargs="+", type=int, choices=range(len(INSTANTS)), default=range(len(INSTANTS)))
    parser.add_argument("--short", action="store_true", help="of studies with one trial an arm, none trained again")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is ended too
    rows = run_cases(asked.stores, [INSTANTS[place] for place in asked.instants], is_short=asked.short)
    failing = [row for row in rows if row["wrong"]]
    told = {"script": "kills", "n": len(rows), "killed": sum(row["reached"] for row in rows), "failing": failing}
    sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    return int(bool(failing))


if __name__ == "__main__":
    sys.exit(main())
