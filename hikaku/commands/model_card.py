"""The card of an exported model: how to load it, what it is, what was measured, and what else was on the front."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from analysis.report.tables import Column, Table
from analysis.statistics.finalists import make_finalist
from analysis.statistics.fronts import FRONTS, collect_points, trace_front
from analysis.trials import hyperparameters
from records.metrics import definition_of
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
    method = "adapted by LoRA" if run.method == "lora" else "fine-tuned in all its parameters"
    described = runs.description
    parts = [
        _front_matter(run, source, kind),
        f"# {run.uid}",
        f"{source.name}, {method}; study {runs.name}. {described}".rstrip(),
        f"## Load it\n\n{_loading(run, source, kind, base)}",
        f"## What was measured\n\n{_measured(runs, run).as_markdown()}",
        f"## What it was chosen among\n\n{_fronts(runs)}",
        f"## Compared with the trial\n\n{_compared(agreement)}",
        "## How it was made\n\n" + "\n".join(f"- {name}: {value}" for name, value in _provenance(runs, run)),
        f"`hikaku repro {run.uid}` trains it again from its record and compares. `provenance.json` holds all of it for machines.",
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


def _loading(run: Run, source: ModelSource, kind: Kind, base: str) -> str:
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
    return f"{code}\n\nThe base lies on the machine it was trained on; `hikaku export --merge` exports it with the adapter in it."


def _measured(runs: StudyRuns, run: Run) -> Table:
    """Return what the base and this run measured, and the mean over a finalist's replicates where there are any."""
    finalist = make_finalist(runs, run)
    again = finalist.replicates
    shown = [each for each in (runs.base, run, *again) if each is not None]
    every = dict.fromkeys(name for each in shown for name in each.metrics)
    names = [name for wanted in MEASURED for name in every if name == wanted or (wanted.endswith("/") and name.startswith(wanted))]
    seeds = [Column(f"mean of {len(again)} other seeds")] if again else []
    rows = [
        (name, runs.base.metrics.get(name) if runs.base else None, run.metrics.get(name), *(finalist.mean(name) for _ in seeds))
        for name in names
    ]
    note = "\n".join(f"- {name}: {definition_of(name).definition}" for name in names)
    return Table("measured", "What was measured", (Column("metric"), Column("base"), Column("this model"), *seeds), tuple(rows), note)


def _fronts(runs: StudyRuns) -> str:
    """Return tables of the trials that no other beats in perplexity and one cost."""
    points = collect_points(runs)
    found = [front for metrics in FRONTS if (front := trace_front(points, metrics)) is not None]
    tables = [
        Table(
            "front",
            "On the front",
            (Column("on the front"), *map(Column, front.metrics)),
            tuple((point.label, *(point.values[name] for name in front.metrics)) for point in front.best),
        )
        for front in found
    ]
    return "\n\n".join(table.as_markdown() for table in tables) or "Nothing completed that could be compared."


def _compared(agreement: "Agreement") -> str:
    return (
        f"This folder, read back as anyone reads it, gives a perplexity of {agreement.perplexity:.8g} on the validation documents; "
        f"the trial had {agreement.trial_perplexity:.8g}: a relative difference of {agreement.relative:.1e}, {agreement.tolerance:g} being "
        f"allowed. Logits differ by at most {agreement.logit_difference:.1e}; their standard deviation is {agreement.logit_spread:.3g}."
    )


def _provenance(runs: StudyRuns, run: Run) -> Iterator[tuple[str, str]]:
    yield "MLflow", f"experiment {runs.name}, run {run.run_id}"
    yield from ((name, run.facts[name]) for name in FACTS if name in run.facts)
    versions = [f"{name.removeprefix('version.')} {value}" for name, value in run.facts.items() if name.startswith("version.")]
    yield "versions", ", ".join(versions)
    yield "seed", str(run.params.get("seed", ""))
    yield "hyperparameters", ", ".join(f"`{name}` {value}" for name, value in hyperparameters(run.params).items() if value is not None)
