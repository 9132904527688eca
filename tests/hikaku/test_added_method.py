"""A method is one class, one line and one YAML file: in a copy of the sources that has one more, every command knows it.

The copy runs in a process of its own, since what a study may name is made of `METHODS` when its module is imported.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.house import ROOMS
from tests.support.small_study import describe_study
from tests.support.tree import ROOT
from trainables.shape import read_model_shape

CLASS = '''
"""Learnt factors of keys, values and the MLP's product."""

from typing import Any, ClassVar, Literal

from trainables.methods.adapter import Adapter
from trainables.shape import ModelShape


class Ia3(Adapter, frozen=True):
    """(IA)3: a learnt vector scales what a linear gives, or what down_proj takes, element by element (Liu et al. 2022)."""

    name: Literal["ia3"] = "ia3"
    mlp: bool = True

    sized_by: ClassVar[tuple[str, ...]] = ("mlp",)

    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return a factor for every element that is scaled, in every layer."""
        sizes = shape.linear_sizes()
        return shape.layers * (sizes["k_proj"][1] + sizes["v_proj"][1] + (sizes["down_proj"][0] if self.mlp else 0))

    def peft_config(self, network: Any) -> Any:
        """Return peft's IA3Config; the factors start at 1."""
        from peft import IA3Config

        fed = ["down_proj"] if self.mlp else []
        return IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", *fed], feedforward_modules=fed)
'''
LINE = '    "ia3": __import__("trainables.methods.ia3", fromlist=["Ia3"]).Ia3,\n'  # the import and the line in one
ARM = {
    "method": "ia3",
    "space": {"method.mlp": {"choices": [True, False]}, "optimizer.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}},
    "starts": [{"method.mlp": True, "optimizer.learning_rate": 1e-1}],
}
SCRIPT = """
import contextlib, io, json, sys
from pathlib import Path
from hikaku import cli
from hikaku.study.reading import read_study
from tests.support.small_study import run_study

file, state, places = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]

def hikaku(*words):
    sys.argv = ["hikaku", *words, "--state", str(state)]
    told, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(wrong):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                sys.exit(f"{words}: exit code {end.code}: {wrong.getvalue()}")
    return told.getvalue()

told = {"check": json.loads(hikaku("check", file, "--json")), "for people": hikaku("check", file)}
told["outcomes"] = [str(trial.outcome) for trial in run_study(read_study(Path(file)), state).snapshot()]
told["report"] = Path(hikaku("report", file).strip()).read_text(encoding="utf-8")
told["adapter"] = json.loads(hikaku("export", file, places[0], "--trial", "small/ia3/0", "--json"))
told["merged"] = json.loads(hikaku("export", file, places[1], "--trial", "small/ia3/0", "--merge", "--json"))
print(json.dumps(told))
"""


class Ran(NamedTuple):
    """What the commands told, and where they worked."""

    root: Path
    told: dict[str, Any]

    def result(self, trial: str) -> dict[str, Any]:
        return json.loads((self.root / "state" / "small" / "trials" / trial / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("added")
    for room in (*ROOMS, "tests/support"):
        shutil.copytree(ROOT / room, root / "tree" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tree" / "tests" / "__init__.py").touch()
    methods = root / "tree" / "trainables" / "methods"
    (methods / "ia3.py").write_text(CLASS.lstrip(), encoding="utf-8")
    text = (methods / "__init__.py").read_text(encoding="utf-8")
    assert text.count('    "full": Full,\n') == 1
    (methods / "__init__.py").write_text(text.replace('    "full": Full,\n', f'    "full": Full,\n{LINE}'), encoding="utf-8")
    study = describe_study(root, "fp32")
    study["arms"] = {"ia3": ARM, "sft": study["arms"]["sft"]}
    study["budget"]["trials"] = 1
    del study["pruning"]
    (root / "study.yaml").write_text(json.dumps(study), encoding="utf-8")
    words = [root / "study.yaml", root / "state", root / "adapter", root / "merged"]
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(root / "tree")}
    done = subprocess.run(command, cwd=root / "tree", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Ran(root, json.loads(done.stdout.splitlines()[-1]))


def test_check_lists_its_sizes_by_its_own_formula(ran: Ran) -> None:
    shape = read_model_shape(ran.root / "model")
    factors = shape.layers * (2 * shape.key_value_heads * shape.head_size + shape.intermediate)
    arm = ran.told["check"]["arms"][0]
    assert (arm["name"], arm["method"]) == ("ia3", "ia3")
    sizes = {size["label"]: size["trainable_parameters"] for size in arm["sizes"]}
    assert sizes == {"mlp True": factors, "mlp False": factors - shape.layers * shape.intermediate}
    assert arm["sizes"][0]["trainable_share"] == pytest.approx(factors / (shape.parameters() + factors))
    assert "mlp True" in ran.told["for people"]


def test_its_trials_train_as_many_parameters_as_the_formula_says(ran: Ran) -> None:
    assert ran.told["outcomes"] == ["completed"] * 2
    sizes = {size["label"]: size["trainable_parameters"] for size in ran.told["check"]["arms"][0]["sizes"]}
    result = ran.result("ia3/0")
    assert result["metrics"]["efficiency/trainable_parameters"] == sizes["mlp True"]
    base = json.loads((ran.root / "state" / "small" / "base" / "result.json").read_text(encoding="utf-8"))
    assert result["metrics"]["eval/perplexity"] < 0.99 * base["metrics"]["eval/perplexity"], "it has learnt"


def test_the_report_speaks_of_it(ran: Ran) -> None:
    report = ran.told["report"]
    perplexity = ran.result("ia3/0")["metrics"]["eval/perplexity"]
    for part in ("Use ia3 when", "ia3 over sft", "What ia3 keeps", "small/ia3/0", f"Validation perplexity: ia3 {perplexity:.4g}"):
        assert part in report


def test_it_is_exported_as_an_adapter_and_merged(ran: Ran) -> None:
    for kind, name in {"adapter": "adapter", "merged model": "merged"}.items():
        export = ran.told[name]
        assert export["kind"] == kind
        assert export["compared"]["relative"] <= export["compared"]["tolerance"]
    config = json.loads((ran.root / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["peft_type"] == "IA3"
    assert config["base_model_name_or_path"] == str(ran.root / "model")
    assert (ran.root / "merged" / "model.safetensors").exists()
    assert "the method ia3" in (ran.root / "adapter" / "README.md").read_text(encoding="utf-8")
