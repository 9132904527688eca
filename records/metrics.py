# ruff: noqa: E501 - a table: one row per metric
"""Every number hikaku reports: name, unit, direction and definition.

One row per metric; a name with `{set}` or the like stands for one metric per set, script, part of speech or stratum. Such a
metric under `test/` is the same on the test documents. Code that reports a number under a name that is not here is refused
(`definition_of` raises), and `docs/metrics.md` is generated from this table.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeVar

Direction = Literal["minimize", "maximize", "none"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Metric:
    """A reported number: `name` as MLflow shows it, its unit, which way is better, and what it means."""

    name: str
    unit: str
    direction: Direction
    definition: str


METRICS: tuple[Metric, ...] = (
    Metric(
        "eval/perplexity",
        "1",
        "minimize",
        "exp(sum of nats / sum of tokens) on the adaptation set's validation documents; the separator before a document is context, its end marker is not counted.",
    ),
    Metric("eval/nats_per_token", "nat/token", "minimize", "Sum of nats over sum of tokens on the adaptation set's validation documents."),
    Metric(
        "eval/bits_per_character",
        "bit/character",
        "minimize",
        "Sum of nats / ln 2 over the number of Unicode characters of the adaptation set's validation documents; comparable across tokenizers.",
    ),
    Metric(
        "eval/bits_per_byte",
        "bit/byte",
        "minimize",
        "Sum of nats / ln 2 over the number of UTF-8 bytes of the adaptation set's validation documents.",
    ),
    Metric(
        "eval/character_accuracy",
        "1",
        "maximize",
        "Share of the adaptation set's validation characters of which every covering token was the likeliest, the text before given.",
    ),
    Metric("test/perplexity", "1", "minimize", "As eval/perplexity, on the test documents; only for the base and the best of each arm."),
    Metric("test/nats_per_token", "nat/token", "minimize", "As eval/nats_per_token, on the test documents."),
    Metric("test/bits_per_character", "bit/character", "minimize", "As eval/bits_per_character, on the test documents."),
    Metric("test/character_accuracy", "1", "maximize", "As eval/character_accuracy, on the test documents."),
    Metric("test/bits_per_byte", "bit/byte", "minimize", "As eval/bits_per_byte, on the test documents."),
    Metric(
        "retained/{set}/bits_per_byte", "bit/byte", "minimize", "Bits per byte on the validation documents of a set that is to be retained."
    ),
    Metric(
        "retention/{set}",
        "1",
        "maximize",
        "The base's bits per byte over the trial's on the set's validation documents; 1 is nothing forgotten, above 1 is improved.",
    ),
    Metric(
        "divergence/{set}",
        "nat/token",
        "minimize",
        "KL(base || trial) of the next token, mean over about 2,048 tokens of the set's validation documents; 0 is the base itself.",
    ),
    Metric("scaled/{scale}/perplexity", "1", "minimize", "As eval/perplexity, the trained adapter applied {scale} times as strongly."),
    Metric("scaled/{scale}/bits_per_character", "bit/character", "minimize", "As eval/bits_per_character, likewise."),
    Metric("scaled/{scale}/retention/{set}", "1", "maximize", "As retention/{set}, likewise."),
    Metric("domain/{set}/perplexity", "1", "minimize", "As eval/perplexity, on the validation documents of a set with role domain."),
    Metric("domain/{set}/bits_per_character", "bit/character", "minimize", "As eval/bits_per_character, on the same documents."),
    Metric(
        "script/{script}/bits_per_character",
        "bit/character",
        "minimize",
        "Nats of the characters of a script / ln 2 over their number, on the adaptation set's validation documents; a token's nats are shared evenly over its bytes.",
    ),
    Metric("script/{script}/accuracy", "1", "maximize", "Share of a script's characters of which every covering token was the likeliest."),
    Metric(
        "word/{part}/bits_per_character", "bit/character", "minimize", "As by script, by Sudachi's part of speech; Japanese documents only."
    ),
    Metric(
        "word/{part}/accuracy", "1", "maximize", "Share of the words of a part of speech of which every covering token was the likeliest."
    ),
    Metric(
        "stratum/{stratum}/bits_per_character",
        "bit/character",
        "minimize",
        "As eval/bits_per_character, on the documents of one stratum: complexity of Japanese, or length of an answer (trainables/corpora/complexity.py).",
    ),
    Metric("stratum/{stratum}/accuracy", "1", "maximize", "As eval/character_accuracy, on the documents of one stratum."),
    Metric("test/degradation", "1", "minimize", "test/perplexity less eval/perplexity: what was flattered by choosing on validation."),
    Metric(
        "test/semantic_similarity",
        "1",
        "maximize",
        "Mean cosine of the embeddings of greedy answers to test prompts and of the true answers, where sentence-transformers is installed.",
    ),
    Metric("train/tokens", "tokens", "none", "Tokens trained when the run ended."),
    Metric("train/loss", "nat/token", "minimize", "Mean nats per trained token since the previous point of the curve."),
    Metric("train/learning_rate", "1", "none", "Learning rate of the step that ends the curve's point."),
    Metric("train/gradient_norm", "1", "none", "Global L2 norm of the gradient before clipping."),
    Metric("efficiency/trainable_parameters", "parameters", "minimize", "Parameters that receive gradients, counted on the built model."),
    Metric(
        "efficiency/total_parameters", "parameters", "minimize", "All parameters of the built model, adapters included, tied weights once."
    ),
    Metric("efficiency/trainable_share", "1", "minimize", "Trainable over total parameters."),
    Metric("efficiency/weights_gib", "GiB", "minimize", "Bytes of all parameters and fp32 master weights on one worker."),
    Metric("efficiency/gradients_gib", "GiB", "minimize", "Bytes of the gradients held at the end of a step's backward on one worker."),
    Metric("efficiency/optimizer_gib", "GiB", "minimize", "Bytes of the optimizer's moments on one worker."),
    Metric(
        "efficiency/activations_gib",
        "GiB",
        "minimize",
        "What is alive at the peak of a step beyond weights, gradients and optimizer: tensors kept for backward and the widest moment's own.",
    ),
    Metric(
        "efficiency/peak_memory_gib",
        "GiB",
        "minimize",
        "The most bytes of tensors alive in a step. GPU: the allocator's peak over training; CPU: counted operation by operation in one step, the second.",
    ),
    Metric("efficiency/reserved_memory_gib", "GiB", "minimize", "GPU memory the allocator reserved at its peak."),
    Metric("efficiency/resident_memory_gib", "GiB", "minimize", "Peak resident memory of the worker's process."),
    Metric("efficiency/predicted_peak_memory_gib", "GiB", "none", "Peak memory predicted before launch from the model's shape."),
    Metric(
        "efficiency/tokens_per_second",
        "token/s",
        "maximize",
        "Trained tokens (padding left out) over training seconds, all workers, first two steps and evaluation left out.",
    ),
    Metric("efficiency/seconds_per_step", "s", "minimize", "Median seconds of one optimizer step, the first two left out."),
    Metric(
        "efficiency/gpu_seconds", "GPU s", "minimize", "Wall seconds from the worker's start to its end times its GPUs; 0 without a GPU."
    ),
    Metric(
        "efficiency/energy_kwh",
        "kWh",
        "minimize",
        "Energy of the worker's GPU from its start to its end by NVML's counter, times its workers; what else ran on that GPU is in it.",
    ),
    Metric("efficiency/train_seconds", "s", "minimize", "Seconds spent in training steps."),
    Metric("efficiency/start_seconds", "s", "minimize", "Seconds from the worker's start to its first step."),
    Metric("efficiency/evaluation_share", "1", "minimize", "Seconds spent evaluating over seconds spent training and evaluating."),
    Metric(
        "convergence/tokens_to_95",
        "tokens",
        "minimize",
        "Tokens at which the smoothed training loss had made 95 % of its whole improvement.",
    ),
    Metric("convergence/seconds_to_95", "s", "minimize", "Training seconds at the same point."),
    Metric("system/cpu_utilization_percentage", "%", "none", "Load of the machine's processors since the point of the curve before."),
    Metric("system/system_memory_usage_megabytes", "MB", "none", "Memory of the machine in use at a point of the curve."),
    Metric("system/system_memory_usage_percentage", "%", "none", "The same as a share of all."),
    Metric("system/gpu_0_utilization_percentage", "%", "none", "Load of the first worker's GPU at a point of the curve, by NVML."),
    Metric("system/gpu_0_memory_usage_megabytes", "MB", "none", "Memory of that GPU in use."),
    Metric("system/gpu_0_memory_usage_percentage", "%", "none", "The same as a share of all."),
    Metric("system/gpu_0_power_usage_watts", "W", "none", "Power that GPU takes."),
    Metric("task/{task}/items", "items", "none", "Items of a task that the model was asked."),
    Metric("task/{task}/accuracy", "1", "maximize", "Share of items whose right choice has the fewest nats after the prompt."),
    Metric("task/{task}/accuracy_low", "1", "maximize", "Lower end of the accuracy's 95 % Wilson interval."),
    Metric("task/{task}/accuracy_high", "1", "maximize", "Upper end of the accuracy's 95 % Wilson interval."),
    Metric("task/{task}/accuracy_by_character", "1", "maximize", "As accuracy, with a choice's nats divided by its characters."),
    Metric("task/{task}/bleu_words", "1", "maximize", "sacrebleu's corpus BLEU, 0 to 100, over Sudachi words."),
    Metric("task/{task}/bleu_characters", "1", "maximize", "sacrebleu's corpus BLEU, 0 to 100, over characters."),
    Metric("task/{task}/chrf_words", "1", "maximize", "sacrebleu's corpus chrF++, 0 to 100: characters, and Sudachi words up to pairs."),
    Metric("task/{task}/chrf_characters", "1", "maximize", "sacrebleu's corpus chrF, 0 to 100, over characters alone."),
    Metric(
        "task/{task}/semantic_similarity",
        "1",
        "maximize",
        "Mean cosine of the embeddings of answers and references by sentence-transformers, where the extra is installed.",
    ),
)

CLASSES = {  # what may stand in a name for {script}, {part} or {stratum}; sets and tasks have names of their own
    "script": ("hiragana", "katakana", "kanji", "latin", "digit", "punctuation", "other"),
    "part": ("noun", "verb", "adjective", "adverb", "particle", "auxiliary", "affix", "symbol"),
    "stratum": ("simple", "complex", "literary", "technical", "concise", "medium", "long"),
}
_BY_NAME = {metric.name: metric for metric in METRICS}


def _compile(name: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", lambda found: f"(?:{'|'.join(CLASSES.get(found[1], ['[^/]+']))})", name))


_PATTERNS = [(_compile(metric.name), metric) for metric in METRICS if "{" in metric.name]


def definition_of(name: str) -> Metric:
    """Return the row that defines a metric's name, with `{set}` and its like matching what may stand there.

    Raises KeyError for a name that no row defines. Names under `own/` are a study's own functions.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith("own/"):
        return Metric(name, "as the study's function returns", "none", "A function named in the study file.")
    for pattern, metric in _PATTERNS:
        if pattern.fullmatch(name.removeprefix("test/")):
            if not name.startswith("test/"):
                return metric
            return Metric(f"test/{metric.name}", metric.unit, metric.direction, f"As {metric.name}, on the test documents.")
    raise KeyError(f"no metric is named {name!r}")


def is_geometric(name: str) -> bool:
    """Return whether a metric's mean is the geometric one: a perplexity is exp(nats per token), and it is nats that add up."""
    return name.endswith("/perplexity")


def mean_of(name: str, values: Sequence[float]) -> float | None:
    """Return the mean of a metric's values, of perplexity the geometric one; None of no values.

    20, 25 and 60 of perplexity have the mean 31.07, exp of their mean nats, where the arithmetic one would be 35.
    """
    if not values:
        return None
    if len(values) > 1 and is_geometric(name) and min(values) > 0:
        return math.exp(fmean(map(math.log, values)))
    return fmean(values)


def rank(items: Iterable[Item], value_of: Callable[[Item], float], direction: Direction) -> list[Item]:
    """Return the items whose value is finite, the best first; of equals the one that comes first. All that calls a trial best asks here."""
    sign = -1.0 if direction == "maximize" else 1.0
    finite = [item for item in items if math.isfinite(value_of(item))]
    return sorted(finite, key=lambda item: sign * value_of(item))  # sorting is stable, so equals keep their order


def spell_out(metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the names of metrics, those by script, part of speech or stratum once for each."""
    for metric in metrics:
        kind = next((kind for kind in CLASSES if f"{{{kind}}}" in metric.name), None)
        yield from [metric.name] if kind is None else [metric.name.replace(f"{{{kind}}}", name) for name in CLASSES[kind]]


def render_metrics() -> str:
    """Return `docs/metrics.md`: the table of all metrics."""
    rows = [f"| `{metric.name}` | {metric.unit} | {metric.direction} | {metric.definition} |" for metric in METRICS]
    classes = [f"`{{{kind}}}`: {', '.join(names)}." for kind, names in CLASSES.items()]
    head = [
        "# Metrics",
        "",
        "Generated by `make docs` from `records/metrics.py`. `{set}` and `{task}` stand for any name of a study.",
        *classes,
        "Names with braces exist under `test/` too, on the test documents.",
        "",
        "| name | unit | better | definition |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    print(render_metrics(), end="")  # noqa: T201
