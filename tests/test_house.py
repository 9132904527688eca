"""The files around the code: the cluster's, the generated page, and the pinned versions."""

import re
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from analysis.guidance.claim_book import read_claims
from analysis.labels import define, label_of
from analysis.report.claim_page import render_claims
from analysis.report.definitions import render_metrics
from analysis.text.wording import read_wording
from records.metrics import CLASSES, METRICS, definition_of
from tests.conftest import RAY, group_of
from tests.support.tree import ROOT
from trainables.corpora.language.complexity import COMPLEXITY, LENGTHS
from trainables.corpora.language.scripts import SCRIPTS
from trainables.corpora.tokens.attribution import PARTS


@pytest.fixture
def cluster() -> dict[str, Any]:
    return YAML(typ="safe").load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def test_ray_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))
    with pytest.raises(Exception, match="nodes"):
        validate_config(cluster | {"nodes": 3})


def test_the_cluster_asks_for_a_token_and_holds_none(cluster: dict[str, Any]) -> None:
    starts = [command for key in ("head", "worker") for command in cluster[f"{key}_start_ray_commands"] if "ray start" in command]
    assert starts
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert not re.search(r"(password|secret|token)\s*[:=]\s*['\"]?[A-Za-z0-9+/]{16,}", (ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def test_the_metrics_page_is_generated() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == render_metrics(read_wording())


def test_the_page_of_claims_is_generated() -> None:
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == render_claims(read_claims(), read_wording())


def test_the_classes_in_names_are_those_that_are_measured() -> None:
    assert {"script": SCRIPTS, "part": PARTS, "stratum": (*COMPLEXITY, *LENGTHS)} == CLASSES
    assert define("test/script/kanji/accuracy", read_wording()) == "As script/{script}/accuracy, on the test documents."
    for stranger in ("script/kanzi/accuracy", "word/kanji/accuracy", "stratum/easy/accuracy", "script/kanji"):
        with pytest.raises(KeyError):
            definition_of(stranger)


def test_every_metric_has_one_row_and_strangers_none() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert definition_of("retention/english").name == "retention/{set}"
    assert label_of("own/length", read_wording(), unit=True) == "own/length (as the study's function returns)"
    with pytest.raises(KeyError):
        definition_of("retention/english/extra")


def test_constraints_name_exact_versions_alone() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    names = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert {"torch", "ninja", "sudachidict-core", "ray", "deepspeed", "ruff", "pyright"} <= names


def test_all_files_that_start_ray_are_one_group() -> None:
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if "proofs" not in path.parts]
    of_ray = {file for file in files if group_of(file) == RAY}
    assert of_ray >= {"tests/hikaku/search/test_cluster.py", "tests/hikaku/search/test_two_nodes.py", "tests/trainables/test_process.py"}
    assert len({group_of(file) for file in files}) == len(files) - len(of_ray) + 1


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, hikaku.cli; sys.exit(bool({'torch', 'ray', 'mlflow', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
