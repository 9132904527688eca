"""A trial taken home: `hikaku export` writes a folder that transformers and peft read, compares it with the trial, and says what it is."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.text.wording import read_wording
from hikaku.commands.options import AsJson, Overrides, State, StudyPath, print_json, read_study
from hikaku.commands.saved_models import find_model
from records.files import build_folder, digest_files, hold_place, write_file
from records.refusals import Refusal

if TYPE_CHECKING:
    from hikaku.commands.model_card import Kind
    from records.runs import Run, StudyRuns
    from trainables.jobs.export import Agreement
    from trainables.models.source import ModelSource

PROVENANCE_FILE = "provenance.json"


@dataclass(frozen=True)
class Export:
    """What was exported, where it lies, and how near it comes to its trial."""

    uid: str
    folder: Path
    kind: "Kind"
    agreement: "Agreement"

    def as_json(self) -> dict[str, Any]:
        """Return uid, folder, kind and the comparison."""
        return {"uid": self.uid, "folder": str(self.folder), "kind": self.kind, "compared": _compared(self.agreement)}

    def __str__(self) -> str:
        near = self.agreement
        wording = read_wording()
        return wording(
            "commands.export.done",
            uid=self.uid,
            kind=wording(f"commands.export.kind.{self.kind}"),
            folder=self.folder,
            perplexity=f"{near.perplexity:.6g}",
            trial=f"{near.trial_perplexity:.6g}",
            relative=f"{near.relative:.1e}",
        )


def choose_run(runs: "StudyRuns", chosen: str) -> "Run":
    """Return the run that is meant by a uid, by `best`, or by `best:ARM`, the best by the study's objective on validation.

    Raises ValueError, in one line, where the study has no such run.
    """
    from analysis.statistics.finalists import choose_best

    word, _, arm = chosen.partition(":")
    every = (*runs.trials, *runs.replicates)
    if word != "best":
        found = next((run for run in every if run.uid == chosen), None)
    else:
        found = choose_best(runs, [run for run in runs.trials if arm in ("", run.arm)])
    if found is None:
        arms = ", ".join(f"best:{name}" for name in runs.arms)
        raise Refusal("--trial", chosen, f"best, {arms}, of which one completed, or the uid of one of {len(every)} runs of {runs.name}")
    return found


def export_trial(runs: "StudyRuns", source: "ModelSource", state: Path, chosen: str, destination: Path, *, merge: bool) -> Export:  # noqa: PLR0913
    """Return what was exported: the folder, whole or not at all, with the model, its tokenizer, a card and its provenance.

    Raises ValueError, in one line, for a trial without weights or a destination that holds something, RuntimeError where the folder,
    read back, does not give the trial's perplexity.
    """
    from hikaku.commands.model_card import CARD_FILE, render_card
    from trainables.jobs.export import compare_export, write_model, writes_adapter

    run = choose_run(runs, chosen)
    saved = find_model(run.uid, state)
    if saved.config is None or saved.weights is None:
        raise Refusal("--trial", run.uid, "a trial that has completed")
    method = saved.config.method
    kind: Kind = "adapter" if writes_adapter(method, merge=merge) else "merged model" if method.freezes_base else "full model"
    with hold_place(destination):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise Refusal("DEST", destination, "a folder that is empty, or not there yet")
        with build_folder(destination) as building:
            write_model(saved.config, saved.weights, building, source, merge=merge)
            agreement = compare_export(saved.config, saved.weights, building, run.metrics["eval/perplexity"], merge=merge)
            done = Export(run.uid, destination, kind, agreement)
            if not agreement.is_good:
                raise RuntimeError(f"{done}, above the {agreement.tolerance:g} allowed; nothing was written")
            card = render_card(runs, run, source, kind, source.id or str(saved.folder), agreement)
            write_file(building / CARD_FILE, card)
            provenance = {"kind": kind} | describe_provenance(runs, run) | {"compared": _compared(agreement)}
            provenance["sha256"] = digest_files(building)  # of everything but the provenance itself
            write_file(building / PROVENANCE_FILE, json.dumps(provenance, ensure_ascii=False, indent=1))
    return done


def describe_provenance(runs: "StudyRuns", run: "Run") -> dict[str, Any]:
    """Return how a run came to be and what it measured, as plain data; where MLflow lies is left out, it may hold a password."""
    metrics = {name: value if math.isfinite(value) else None for name, value in sorted(run.metrics.items())}
    place = {"experiment": runs.name, "run_id": run.run_id}
    return {"uid": run.uid, "mlflow": place, "params": dict(run.params), "metrics": metrics, "facts": dict(run.facts)}


def _compared(agreement: "Agreement") -> Mapping[str, float]:
    return asdict(agreement) | {"relative": agreement.relative}


def export(  # noqa: PLR0913, PLR0917
    study: StudyPath,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="folder to be written")],
    trial: Annotated[str, typer.Option(metavar="UID", help="study/arm/number, best, or best:ARM")] = "best",
    merge: Annotated[bool, typer.Option("--merge", help="add the adapter into its base: a whole model, which needs no peft")] = False,
    overrides: Overrides = [],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Export a trial as a folder that transformers and peft read, with its tokenizer and a card; compared with the trial after."""
    from records.places import find_store, state_root
    from records.runs import read_study_runs

    known = read_study(study, overrides)
    runs = read_study_runs(known.name, find_store(state, known.tracking.uri))
    done = export_trial(runs, known.model, state_root(state), trial, destination.expanduser().absolute(), merge=merge)
    if as_json:
        print_json(done.as_json())
    else:
        typer.echo(str(done))
