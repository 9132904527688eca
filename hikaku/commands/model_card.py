"""The card of an exported model: how to load it, what it is, what was measured, and what else was on the front."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from analysis.labels import define, label_point
from analysis.report.tables import Column, Table
from analysis.statistics.finalists import make_finalist
from analysis.statistics.fronts import FRONTS, collect_points, trace_front
from analysis.text.wording import Wording, read_wording
from analysis.trials import hyperparameters
from records.runs import Run, StudyRuns
from trainables.models.source import ModelSource

if TYPE_CHECKING:
    from trainables.jobs.export import Agreement

Kind = Literal["adapter", "merged model", "full model"]
CARD_FILE = "README.md"
HUB_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "llama3.1")  # the hub's own words for them
DTYPES = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}
MEASURED = (
    "eval/perplexity",
    "eval/bits_per_character",
    "retention/",
    "divergence/",
    "test/perplexity",
    "test/bits_per_character",
    "test/retention/",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/train_seconds",
)  # where a name ends in `/`, all under it
FACTS = ("revision", "git_commit", "device", "precision", "data", "train_digest")


def render_card(runs: StudyRuns, run: Run, source: ModelSource, kind: Kind, base: str, agreement: "Agreement") -> str:  # noqa: PLR0913, PLR0917
    """Return README.md of an exported folder, with the front matter that the hub reads. `base` is a hub id, or a folder here."""
    wording = read_wording()
    unnamed = wording("commands.model_card.other_method", method=run.method)
    method = wording.find(f"commands.model_card.method.{run.method}", unnamed)
    described = runs.description
    parts = [
        _front_matter(run, source, kind),
        f"# {run.uid}",
        wording("commands.model_card.what", model=source.name, method=method, study=runs.name, description=described).rstrip(),
        f"## {wording('commands.model_card.load')}\n\n{_loading(run, source, kind, base, wording)}",
        f"## {wording('commands.model_card.measured')}\n\n{_measured(runs, run, wording).as_markdown()}",
        f"## {wording('commands.model_card.chosen')}\n\n{_fronts(runs, wording)}",
        f"## {wording('commands.model_card.compared')}\n\n{_compared(agreement, wording)}",
        f"## {wording('commands.model_card.made')}\n\n" + "\n".join(_provenance(runs, run, wording)),
        wording("commands.model_card.repro", uid=run.uid),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(run: Run, source: ModelSource, kind: Kind) -> str:
    licence = source.licence.lower()
    lines = {
        "library_name": "peft" if kind == "adapter" else "transformers",
        **({"base_model": source.id} if source.id else {}),
        **({"license": licence} if licence in HUB_LICENCES else {"license": "other", "license_name": source.licence}),
        "pipeline_tag": "text-generation",
        "tags": ["hikaku", run.method],
    }
    return "\n".join(["---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in lines.items()), "---"])


def _loading(run: Run, source: ModelSource, kind: Kind, base: str, wording: Wording) -> str:
    """Return Python that loads the folder, and where its base is to be had."""
    dtype = DTYPES[str(run.params["model.precision"])]
    revision = f", revision={source.revision!r}" if source.revision else ""
    adapted = [
        f"base = AutoModelForCausalLM.from_pretrained({base!r}{revision}, dtype={dtype})",
        'model = PeftModel.from_pretrained(base, "FOLDER")',
    ]
    is_adapter = kind == "adapter"
    lines = [
        "import torch",
        *(["from peft import PeftModel"] if is_adapter else []),
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        *(adapted if is_adapter else [f'model = AutoModelForCausalLM.from_pretrained("FOLDER", dtype={dtype})']),
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
    ]
    code = "\n".join(["```python", *lines, "```"])
    if not is_adapter or source.id:
        return code
    return f"{code}\n\n{wording('commands.model_card.base_elsewhere')}"


def _measured(runs: StudyRuns, run: Run, wording: Wording) -> Table:
    """Return what the base and this run measured, and the mean over a finalist's replicates where there are any."""
    finalist = make_finalist(runs, run)
    again = finalist.replicates
    shown = [each for each in (runs.base, run, *again) if each is not None]
    every = dict.fromkeys(name for each in shown for name in each.metrics)
    names = [name for wanted in MEASURED for name in every if name == wanted or (wanted.endswith("/") and name.startswith(wanted))]
    seeds = [Column(wording("commands.model_card.seeds", count=len(again)))] if again else []
    columns = (
        Column(wording("commands.model_card.metric")),
        Column(wording("labels.side.base")),
        Column(wording("commands.model_card.this_model")),
        *seeds,
    )
    rows = [
        (name, runs.base.metrics.get(name) if runs.base else None, run.metrics.get(name), *(finalist.mean(name) for _ in seeds))
        for name in names
    ]
    note = "\n".join(f"- {name}: {define(name, wording)}" for name in names)
    return Table("measured", "", columns, tuple(rows), note)


def _fronts(runs: StudyRuns, wording: Wording) -> str:
    """Return tables of the trials that no other beats in perplexity and one cost."""
    points = collect_points(runs)
    fronts = [front for metrics in FRONTS if (front := trace_front(points, metrics)) is not None]
    tables = [
        Table(
            "front",
            "",
            (Column(wording("commands.model_card.front")), *map(Column, front.metrics)),
            tuple((label_point(point, wording), *(point.values[name] for name in front.metrics)) for point in front.best),
        )
        for front in fronts
    ]
    return "\n\n".join(table.as_markdown() for table in tables) or wording("commands.model_card.alone")


def _compared(agreement: "Agreement", wording: Wording) -> str:
    return wording(
        "commands.model_card.agreement",
        perplexity=f"{agreement.perplexity:.8g}",
        trial=f"{agreement.trial_perplexity:.8g}",
        relative=f"{agreement.relative:.1e}",
        tolerance=f"{agreement.tolerance:g}",
        logits=f"{agreement.logit_difference:.1e}",
        spread=f"{agreement.logit_spread:.3g}",
    )


def _provenance(runs: StudyRuns, run: Run, wording: Wording) -> Iterator[str]:
    """Yield a line of markdown for each fact of how the model was made."""
    yield wording("commands.model_card.record", study=runs.name, run=run.run_id)
    yield from (f"- {name}: {run.facts[name]}" for name in FACTS if name in run.facts)
    versions = [f"{name.removeprefix('version.')} {value}" for name, value in run.facts.items() if name.startswith("version.")]
    yield wording("commands.model_card.versions", versions=", ".join(versions))
    yield wording("commands.model_card.seed", seed=run.params.get("seed", ""))
    shown = [f"`{name}` {value}" for name, value in hyperparameters(run.params).items() if value is not None]
    yield wording("commands.model_card.hyperparameters", hyperparameters=", ".join(shown))
