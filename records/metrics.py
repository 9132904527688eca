"""Every number hikaku reports: name, unit and direction. What each means stands among the texts, in analysis/text/en/labels.yaml.

One row per metric; a name with `{set}` or the like stands for one metric per set, script, part of speech or stratum. Such a
metric under `test/` is the same on the test documents. Code that reports a number under a name that is not here is refused
(`definition_of` raises), and `docs/metrics.md` is generated from this table and those texts.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeVar

Direction = Literal["minimize", "maximize", "none"]
# What measures a number: an evaluation of any model, the base too; a trial at its rungs, which adds what training has cost; a point of its
# training curve; its end; an adapter weakened or strengthened after training; the test split; `hikaku evaluate`.
Stage = Literal["evaluation", "rung", "curve", "end", "scaled", "test", "task"]
Item = TypeVar("Item")

OWN_UNIT = "own"  # of a study's own function, which alone knows it


@dataclass(frozen=True)
class Metric:
    """A reported number: `name` as MLflow shows it, its unit, which way is better, and what it takes to be measured.

    `steps` and `points` are how many optimizer steps, or points of the training curve, there must be before it is known; `needs` is a
    GPU, or a GPU whose energy is metered.
    """

    name: str
    unit: str
    direction: Direction
    stage: Stage
    steps: int = 0
    points: int = 0
    needs: Literal["", "gpu", "energy_meter"] = ""

    @property
    def judges(self) -> bool:
        """Return whether a trial has it while it can still be judged: as an objective or a constraint."""
        return self.stage in ("evaluation", "rung")


METRICS: tuple[Metric, ...] = (
    Metric("eval/perplexity", "1", "minimize", "evaluation"),
    Metric("eval/nats_per_token", "nat/token", "minimize", "evaluation"),
    Metric("eval/bits_per_character", "bit/character", "minimize", "evaluation"),
    Metric("eval/bits_per_byte", "bit/byte", "minimize", "evaluation"),
    Metric("eval/character_accuracy", "1", "maximize", "evaluation"),
    Metric("test/perplexity", "1", "minimize", "test"),
    Metric("test/nats_per_token", "nat/token", "minimize", "test"),
    Metric("test/bits_per_character", "bit/character", "minimize", "test"),
    Metric("test/character_accuracy", "1", "maximize", "test"),
    Metric("test/bits_per_byte", "bit/byte", "minimize", "test"),
    Metric("retained/{set}/bits_per_byte", "bit/byte", "minimize", "evaluation"),
    Metric("retention/{set}", "1", "maximize", "evaluation"),
    Metric("divergence/{set}", "nat/token", "minimize", "evaluation"),
    Metric("scaled/{scale}/perplexity", "1", "minimize", "scaled"),
    Metric("scaled/{scale}/bits_per_character", "bit/character", "minimize", "scaled"),
    Metric("scaled/{scale}/retention/{set}", "1", "maximize", "scaled"),
    Metric("domain/{set}/perplexity", "1", "minimize", "evaluation"),
    Metric("domain/{set}/bits_per_character", "bit/character", "minimize", "evaluation"),
    Metric("script/{script}/bits_per_character", "bit/character", "minimize", "evaluation"),
    Metric("script/{script}/accuracy", "1", "maximize", "evaluation"),
    Metric("word/{part}/bits_per_character", "bit/character", "minimize", "evaluation"),
    Metric("word/{part}/accuracy", "1", "maximize", "evaluation"),
    Metric("stratum/{stratum}/bits_per_character", "bit/character", "minimize", "evaluation"),
    Metric("stratum/{stratum}/accuracy", "1", "maximize", "evaluation"),
    Metric("test/degradation", "1", "minimize", "test"),
    Metric("test/semantic_similarity", "1", "maximize", "test"),
    Metric("train/tokens", "tokens", "none", "end"),
    Metric("train/loss", "nat/token", "minimize", "curve"),
    Metric("train/learning_rate", "1", "none", "curve"),
    Metric("train/gradient_norm", "1", "none", "curve"),
    Metric("efficiency/trainable_parameters", "parameters", "minimize", "rung"),
    Metric("efficiency/total_parameters", "parameters", "minimize", "rung"),
    Metric("efficiency/trainable_share", "1", "minimize", "rung"),
    Metric("efficiency/weights_gib", "GiB", "minimize", "rung", steps=2),
    Metric("efficiency/gradients_gib", "GiB", "minimize", "rung", steps=2),
    Metric("efficiency/optimizer_gib", "GiB", "minimize", "rung", steps=2),
    Metric("efficiency/activations_gib", "GiB", "minimize", "rung", steps=2),
    Metric("efficiency/peak_memory_gib", "GiB", "minimize", "rung", steps=2),
    Metric("efficiency/reserved_memory_gib", "GiB", "minimize", "rung", needs="gpu"),
    Metric("efficiency/resident_memory_gib", "GiB", "minimize", "rung"),
    Metric("efficiency/predicted_peak_memory_gib", "GiB", "none", "rung"),
    Metric("efficiency/tokens_per_second", "token/s", "maximize", "rung", steps=3),
    Metric("efficiency/seconds_per_step", "s", "minimize", "rung", steps=3),
    Metric("efficiency/gpu_seconds", "GPU s", "minimize", "rung"),
    Metric("efficiency/energy_kwh", "kWh", "minimize", "rung", needs="energy_meter"),
    Metric("efficiency/train_seconds", "s", "minimize", "rung"),
    Metric("efficiency/start_seconds", "s", "minimize", "rung"),
    Metric("efficiency/evaluation_share", "1", "minimize", "rung"),
    Metric("convergence/tokens_to_95", "tokens", "minimize", "rung", points=2),
    Metric("convergence/seconds_to_95", "s", "minimize", "rung", points=2),
    Metric("system/cpu_utilization_percentage", "%", "none", "curve"),
    Metric("system/system_memory_usage_megabytes", "MB", "none", "curve"),
    Metric("system/system_memory_usage_percentage", "%", "none", "curve"),
    Metric("system/gpu_0_utilization_percentage", "%", "none", "curve"),
    Metric("system/gpu_0_memory_usage_megabytes", "MB", "none", "curve"),
    Metric("system/gpu_0_memory_usage_percentage", "%", "none", "curve"),
    Metric("system/gpu_0_power_usage_watts", "W", "none", "curve"),
    Metric("task/{task}/items", "items", "none", "task"),
    Metric("task/{task}/accuracy", "1", "maximize", "task"),
    Metric("task/{task}/accuracy_low", "1", "maximize", "task"),
    Metric("task/{task}/accuracy_high", "1", "maximize", "task"),
    Metric("task/{task}/accuracy_by_character", "1", "maximize", "task"),
    Metric("task/{task}/bleu_words", "1", "maximize", "task"),
    Metric("task/{task}/bleu_characters", "1", "maximize", "task"),
    Metric("task/{task}/chrf_words", "1", "maximize", "task"),
    Metric("task/{task}/chrf_characters", "1", "maximize", "task"),
    Metric("task/{task}/semantic_similarity", "1", "maximize", "task"),
)

CLASSES = {  # what may stand in a name for {script}, {part} or {stratum}; sets and tasks have names of their own
    "script": ("hiragana", "katakana", "kanji", "latin", "digit", "punctuation", "other"),
    "part": ("noun", "verb", "adjective", "adverb", "particle", "auxiliary", "affix", "symbol"),
    "stratum": ("simple", "complex", "literary", "technical", "concise", "medium", "long"),
}
# Most names are whole; only others are tried against the patterns, one by one.
_BY_NAME = {metric.name: metric for metric in METRICS}


def _compile(name: str) -> re.Pattern[str]:
    def alternatives(placeholder: re.Match[str]) -> str:
        classes = CLASSES.get(placeholder[1], ["[^/]+"])  # a set's or a task's own name: anything but the name's separator
        return f"(?:{'|'.join(classes)})"

    return re.compile(re.sub(r"\{(\w+)\}", alternatives, name))


_PATTERNS = [(_compile(metric.name), metric) for metric in METRICS if "{" in metric.name]


def definition_of(name: str) -> Metric:
    """Return the row of a metric's name, with `{set}` and its like matching what may stand there.

    Raises KeyError for a name that no row defines. Names under `own/` are a study's own functions.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith("own/"):
        return Metric(name, OWN_UNIT, "none", "rung")
    for pattern, metric in _PATTERNS:
        if pattern.fullmatch(name.removeprefix("test/")):
            if not name.startswith("test/"):
                return metric
            # Made rather than listed: every metric with a placeholder may be measured on test as well.
            return Metric(f"test/{metric.name}", metric.unit, metric.direction, "test")
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
    # Of one value as it is: exp of its logarithm may differ in the last digit.
    if len(values) > 1 and is_geometric(name) and min(values) > 0:
        return math.exp(fmean(map(math.log, values)))
    return fmean(values)


def rank(items: Iterable[Item], value_of: Callable[[Item], float], direction: Direction) -> list[Item]:
    """Return the items whose value is finite, the best first; of equals the one that comes first. All that calls a trial best asks here."""
    sign = -1.0 if direction == "maximize" else 1.0
    finite = [item for item in items if math.isfinite(value_of(item))]  # NaN compares with nothing and would scramble the order
    return sorted(finite, key=lambda item: sign * value_of(item))  # sorting is stable, so equals keep their order


def spell_out(metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the names of metrics, those by script, part of speech or stratum once for each."""
    for metric in metrics:
        kind = next((kind for kind in CLASSES if f"{{{kind}}}" in metric.name), None)
        yield from [metric.name] if kind is None else [metric.name.replace(f"{{{kind}}}", name) for name in CLASSES[kind]]
