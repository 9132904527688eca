"""The card of an exported model: a hub's base with its commit, a licence the hub does not know, and the mean over a finalist's seeds."""

from ruamel.yaml import YAML

from hikaku.commands.model_card import render_card
from records.runs import StudyRuns
from tests.support.made_runs import make_run, make_seeds, make_study
from trainables.jobs.export import Agreement
from trainables.models.source import ModelSource

SOURCE = ModelSource(id="owner/model", revision="ab" * 20, licence="NVIDIA Open Model")
NEAR = Agreement(trial_perplexity=8.0, perplexity=8.0000001, logit_difference=1e-5, logit_spread=2.0, tolerance=2e-3)


def make_runs() -> StudyRuns:
    """Return a study of one finalist with two replicates."""
    params = {"model.precision": "bf16", "method.name": "lora", "method.rank": 8, "method.alpha": None, "seed": 5}
    trial = make_run("toy/lora/0", {"eval/perplexity": 8.0, "efficiency/trainable_parameters": 1000.0}, params)
    base = make_run("toy/base", {"eval/perplexity": 20.0})
    return make_study([trial], make_seeds(trial, "eval/perplexity", [4.0, 16.0]), base=base)


def test_an_adapter_names_its_base_by_commit() -> None:
    runs = make_runs()
    card = render_card(runs, runs.trials[0], SOURCE, "adapter", "owner/model", NEAR)
    front = YAML(typ="safe").load(card.split("---")[1])
    assert (front["base_model"], front["license"], front["license_name"]) == ("owner/model", "other", "NVIDIA Open Model")
    assert f"from_pretrained('owner/model', revision='{'ab' * 20}', dtype=torch.bfloat16)" in card
    assert "`method.rank` 8" in card
    assert "method.alpha" not in card, "what was not given is not told"
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")


def test_a_finalists_seeds_stand_beside_it() -> None:
    runs = make_runs()
    card = render_card(runs, runs.trials[0], SOURCE, "merged model", "owner/model", NEAR)
    assert "| metric | base | this model | mean of 2 other seeds |" in card
    assert "| eval/perplexity | 20 | 8 | 8 |" in card, "the geometric mean of 4 and 16"
    assert "PeftModel" not in card
