"""Every text that is looked up exists, every text is looked up, and its {places} are those that the code fills."""

import ast
import re
import string
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from analysis.guidance import claims as judged_claims
from analysis.guidance import questions, source_checks
from analysis.guidance.claim_book import read_claims
from analysis.report import claim_page
from analysis.report.sections import card, classes, difference, sensitivity, trade_off
from analysis.report.sections import claims as claims_section
from analysis.statistics import conditions, edges, tiers
from analysis.statistics.comparison import FIGURES
from analysis.statistics.difference import ClassDecision, Doubt
from analysis.statistics.importance import EVALUATORS
from analysis.statistics.matched import MatchedReason
from analysis.statistics.sensitivity import Shape
from analysis.statistics.verdict import Decision
from analysis.text import wording
from analysis.text.wording import FOLDER, read_wording
from hikaku.commands import doctor, evaluate, model_card, repro
from hikaku.search import progress
from hikaku.study import plan
from records.metrics import CLASSES, METRICS
from records.results import Outcome
from search_spaces.grammar import PHRASES
from tests.support.tree import ROOT
from trainables.corpora.cleaning.cleaning import Stage
from trainables.corpora.sources import SPLITS
from trainables.methods import METHODS
from trainables.models.source import Lack

FILES = ("report.md", "report.json", "report.html", "claims.yaml")  # names that look like keys, and are none
TABLES = {
    "questions": card.QUESTIONS,
    "claims": tuple(dict.fromkeys((*claims_section.COLUMNS, *claim_page.COLUMNS))),
    "difference": difference.COLUMNS,
    "effects": sensitivity.EFFECTS,
    "importances": sensitivity.IMPORTANCES,
    "fronts": trade_off.ON_FRONT,
    "scores": trade_off.SCORES,
    "prices": trade_off.PRICES,
}
PICTURES = (
    *("learning", "forest", "trade_off", "forgetting", "memory", "loss_curves", "learning_rate"),
    *("rank", "scripts", "strata", "parallel", "importance"),
)


def vocabulary() -> Mapping[str, set[str]]:
    """Return by pattern, as the code writes it with {} for what it fills in, the keys that it stands for."""
    book = read_claims()
    columns = {f"{table}.column.{name}" for table, names in TABLES.items() for name in names}
    lists: dict[str, list[str]] = {
        "claims.says.{}": [claim.name for claim in book.claims],
        "claims.why.{}": [claim.name for claim in book.claims if not claim.comparable],
        "claims.source.{}": list(book.sources),
        "claims.of.{}": [key for claim in book.claims for key in claim.published if not re.fullmatch(r"[\d.]+", key)],
        "commands.check.column.{}": ["size", "trainable", "share"],
        "commands.check.part.{}": list(plan.PARTS),
        "commands.check.word.{}": ["study", "model", "objectives", "rungs", "arm", "disk", "note", "cannot_fit", "fits"],
        "commands.doctor.state.{}": list(get_args(doctor.Look)),
        "commands.evaluate.column.{}": list(evaluate.COLUMNS),
        "commands.export.kind.{}": list(get_args(model_card.Kind)),
        "commands.model_card.method.{}": list(METHODS),
        "commands.prepare.column.{}": ["split", "pairs", "documents", "characters", "median", "longest", "scripts"],
        "commands.prepare.stage.{}": list(get_args(Stage)),
        "commands.repro.column.{}": list(repro.COLUMNS),
        "guidance.card.condition.{}": ["quality", "retention", *conditions.DECIDED_BY],
        "guidance.card.note.{}": ["sure", "provisional", "one_seed"],
        "guidance.card.reason.{}": list(get_args(conditions.Reason)),
        "guidance.claim.reason.{}": list(get_args(judged_claims.Reason)),
        "guidance.claim.source.{}": list(get_args(source_checks.SourceReason)),
        "guidance.edge.name.{}": [name.rpartition(".")[2] for name in edges.SEARCHED],
        "guidance.card.tiers_note.{}": list(get_args(tiers.Basis)),
        "guidance.knee.{}": list(get_args(Shape)),
        "guidance.matched.{}": list(get_args(MatchedReason)),
        "guidance.verdict.doubt.{}": list(get_args(Doubt)),
        "labels.better.{}": ["minimize", "maximize"],
        "labels.class.{}": [name for names in CLASSES.values() for name in names],
        "labels.definition.{}": [metric.name for metric in METRICS],
        "labels.method.{}": list(METHODS),
        "labels.outcome.{}": [*Outcome, "running"],
        "labels.split.{}": list(SPLITS),
        "labels.unit.{}": [*(metric.unit for metric in METRICS), *FIGURES.values(), "own"],
        "report.certainty.means.{}": list(difference.PARTS),
        "report.certainty.part.{}": list(difference.PARTS),
        "report.claims.by_source.{}": list(get_args(source_checks.SourceWord)),
        "report.claims.word.{}": list(get_args(judged_claims.Word)),
        "report.classes.kind.{}": list(classes.PREFIXES),
        "report.classes.measure.{}": ["accuracy", "bits_per_character", "perplexity"],
        "report.column.{}": ["name", "unit", "better", "definition", "outcome", "count", "trials", "reason"],
        "report.difference.kind.{}": ["script", "stratum", "domain", "retain"],
        "report.difference.word.{}": [*get_args(Decision), *get_args(ClassDecision)],
        "report.figure.{}.axis": list(classes.DRAWN),
        "report.figure.{}.caption": list(PICTURES),
        "report.figure.{}.title": list(PICTURES),
        "report.formula.{}": [*FIGURES, "retained/perplexity", "retained/nats"],
        "report.importances.evaluator.{}": list(EVALUATORS),
        "report.importances.evaluator_means.{}": list(EVALUATORS),
        "report.memory.part.{}": list(trade_off.PARTS),
        "report.questions.state.{}": list(get_args(questions.State)),
        "report.tiers.column.{}": list(card.TIERS),
        "report.verdict.{}": [word for word in get_args(Decision) if not word.endswith("better")],
        "search.progress.column.{}": list(progress.COLUMNS),
        "study.plan.lacks.{}": list(get_args(Lack)),
        "study.plan.objective.{}": ["minimize", "maximize"],
        "study.plan.size.{}": list(METHODS),
        "study.plan.space.{}": list(PHRASES),
    }
    keys = {pattern: {pattern.replace("{}", str(value)) for value in values} for pattern, values in lists.items()}
    return keys | {"report.{}.column.{}": {f"report.{column}" for column in columns}}


def optional(texts: Mapping[str, str]) -> Mapping[str, set[str]]:
    """Return by pattern the keys that may be missing: what a column means, and what people call a metric, where there is more to say."""
    means = {f"report.{table}.means.{name}" for table, names in TABLES.items() for name in names}
    families = {metric.name.partition("{")[0].rstrip("/") for metric in METRICS}
    metrics = {f"labels.metric.{split}{family}" for family in families for split in ("", "test/")}
    return {"report.{}.means.{}": means & texts.keys(), "labels.metric.{}": metrics & texts.keys()}


@cache
def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text(encoding="utf-8")) for room in ("analysis", "hikaku") for file in sorted((ROOT / room).rglob("*.py"))]


def keys_in_code() -> tuple[set[str], set[str]]:
    """Return the keys that stand in the code, and the patterns of those that it puts together."""
    rooms = {file.stem for file in (FOLDER / "en").glob("*.yaml")}
    literal: set[str] = set()
    patterns: set[str] = set()
    for tree in trees():
        within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
                literal |= {node.value} if re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", node.value) else set()
            elif isinstance(node, ast.JoinedStr):
                pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                patterns |= {pattern} if re.fullmatch(r"[a-z_]+(\.([a-z_0-9]+|\{\}))+", pattern) else set()

    for template in sorted((ROOT / "analysis").rglob("*.html")):
        literal |= set(re.findall(r'\bwording\("([^"]+)"', template.read_text(encoding="utf-8")))

    def is_key(name: str) -> bool:
        return name.partition(".")[0] in rooms and name not in FILES

    return set(filter(is_key, literal)), set(filter(is_key, patterns))


def test_every_key_in_the_code_has_a_text() -> None:
    literal, patterns = keys_in_code()
    texts = read_wording().texts
    assert len(literal) > 200
    assert sorted(literal - texts.keys()) == []
    assert sorted(patterns) == sorted(vocabulary().keys() | optional(texts).keys())
    assert sorted(key for keys in vocabulary().values() for key in keys if key not in texts) == []


def test_every_text_is_looked_up() -> None:
    literal, _ = keys_in_code()
    texts = read_wording().texts
    used = literal.union(*vocabulary().values(), *optional(texts).values())
    assert sorted(texts.keys() - used) == []


def calls() -> Iterator[tuple[str, set[str], bool]]:
    """Yield the key of every text that is looked up by its name, the places that the call fills, and whether it may fill others."""
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                speaker = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if speaker == "wording" or (isinstance(node.func, ast.Call) and getattr(node.func.func, "id", "") == "read_wording"):
                    given = {keyword.arg for keyword in node.keywords}
                    yield str(node.args[0].value), {name for name in given if name}, None in given


def test_places_are_those_that_the_code_fills() -> None:
    texts = read_wording().texts
    seen = 0
    for key, given, open_ended in calls():
        places = {field for _, field, _, _ in string.Formatter().parse(texts[key]) if field}
        assert given <= places, f"{key} has no place for {given - places}"
        assert places <= given or open_ended, f"{key} wants {places - given}"
        seen += 1
    assert seen > 200


def test_no_text_is_empty() -> None:
    assert [key for key, text in read_wording().texts.items() if not text.strip()] == []


def test_a_language_is_a_folder_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ja").mkdir()
    (tmp_path / "ja" / "report.yaml").write_text("page:\n  contents: 目次\n  of: '{count} 件'\n", encoding="utf-8")
    monkeypatch.setattr(wording, "FOLDER", tmp_path)
    japanese = read_wording("ja")
    assert (japanese("report.page.contents"), japanese("report.page.of", count=3), japanese.find("report.page.theme", "-")) == (
        "目次",
        "3 件",
        "-",
    )
    read_wording.cache_clear()
    with pytest.raises(ValueError, match="language: got 'xx'; allowed: ja"):
        read_wording("xx")
    read_wording.cache_clear()
