# ruff: noqa: E501 (a table: one way of breaking a line)
"""A good study and the ways of breaking it, each with the key that must be named and a part of what must be said."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.empty_model import write_empty_model

GOOD = """\
name: good
model:
  path: model
  licence: MIT
data:
  japanese: {role: adapt, embedded: japanese}
  english:
    role: retain
    embedded: english
arms:
  lora:
    method: lora
    space:
      method.rank: {choices: [4, 8, 16]}
      method.alpha_over_rank: 2.0
      method.dropout: {low: 0.0, high: 0.1, step: 0.05}
      optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}
      schedule.warmup_share: {low: 0.02, high: 0.1}
    starts:
      - {method.rank: 16, optimizer.learning_rate: 3e-4}
      - {method.rank: 8, optimizer.learning_rate: 2e-4}
  sft:
    method: full
    space:
      optimizer.learning_rate: {low: 1e-5, high: 5e-3, log: true}
    starts:
      - {optimizer.learning_rate: 3e-4}
budget:
  trials: 4
  tokens: 65536
training:
  batch: {sequence_length: 256, blocks: 8, micro_blocks: 8}
pruning:
  first_rung: 16384
  reduction_factor: 2
objectives:
  - metric: eval/bits_per_character
constraints:
  - {metric: retention/english, at_least: 0.5}
seed: 42
"""


@dataclass(frozen=True)
class Broken:
    """`old` becomes `new`; the line of `new` that holds `marker` (default: its first line) and `key` must be named."""

    name: str
    old: str
    new: str
    key: str
    says: str
    marker: str = ""

    @property
    def text(self) -> str:
        assert self.old in GOOD, self.old
        return GOOD.replace(self.old, self.new, 1)

    @property
    def line(self) -> int:
        marker = self.marker or self.new.strip("\n").splitlines()[0]
        found = [number for number, line in enumerate(self.text.splitlines(), start=1) if marker in line]
        assert len(found) == 1, (self.name, found)
        return found[0]


LORA_RATE = "optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}"
RATE = "arms.lora.space.optimizer.learning_rate"
SFT_RATE = "      optimizer.learning_rate: {low: 1e-5, high: 5e-3, log: true}\n"
PRUNING_AND_OBJECTIVE = "pruning:\n  first_rung: 16384\n  reduction_factor: 2\nobjectives:\n  - metric: eval/bits_per_character"

BROKEN = (
    Broken("unknown key", "seed: 42", "colour: blue", "colour", "unknown key; allowed: name, description"),
    Broken("misspelt key", "budget:\n", "budgit:\n", "budgit", "did you mean 'budget'?"),
    Broken("misspelt nested key", "  reduction_factor: 2", "  reduction_facter: 2", "pruning.reduction_facter", "did you mean 'reduction_factor'?"),
    Broken("misspelt key of an arm", "    starts:\n      - {optimizer", "    start:\n      - {optimizer", "arms.sft.start", "did you mean 'starts'?"),
    Broken("misspelt key of a set", "    role: retain", "    rol: retain", "data.english.rol", "did you mean 'role'?"),
    Broken("misspelt range", LORA_RATE, "optimizer.learning_rate: {low: 1e-4, hihg: 1e-2, log: true}", f"{RATE}.hihg", "did you mean 'high'?"),
    Broken("missing section", "budget:\n  trials: 4\n  tokens: 65536\n", "", "", "budget is missing", "name: good"),
    Broken("missing field", "  tokens: 65536\n", "", "budget", "tokens is missing", "budget:"),
    Broken("missing role", "{role: adapt, embedded: japanese}", "{embedded: japanese}", "data.japanese", "role is missing"),
    Broken("text for a number", "  trials: 4", "  trials: many", "budget.trials", "got 'many'; allowed: a whole number"),
    Broken("truth for a number", "  trials: 4", "  trials: true", "budget.trials", "got true; allowed: a whole number"),
    Broken("quoted number", "seed: 42", "seed: '42'", "seed", "got '42'; allowed: a whole number"),
    Broken("fraction for a whole number", "  tokens: 65536", "  tokens: 65536.5", "budget.tokens", "got 65536.5; allowed: a whole number"),
    Broken("number for a mapping", "model:\n  path: model\n  licence: MIT", "model: 3", "model", "got 3; allowed: a mapping"),
    Broken("nothing for a mapping", "pruning:\n  first_rung: 16384\n  reduction_factor: 2", "budget2:", "budget2", "unknown key"),
    Broken("list for a number", "seed: 42", "seed: [42]", "seed", "got a list; allowed: a whole number"),
    Broken("no trials", "  trials: 4", "  trials: 0", "budget.trials", "got 0; allowed: at least 1"),
    Broken("negative seed", "seed: 42", "seed: -1", "seed", "got -1; allowed: at least 0"),
    Broken("database that is no URL", "seed: 42", "storage: trials.db", "storage", "got 'trials.db'; allowed: a database's URL"),
    Broken("database relative to anywhere", "seed: 42", "storage: sqlite:///trials.db", "storage", "relative to wherever a process runs"),
    Broken("database in memory", "seed: 42", "storage: 'sqlite://'", "storage", "which ends with its process"),
    Broken("database with a question mark", "seed: 42", "storage: sqlite:////tmp/a?b/trials.db", "storage", "what follows the ? is no part of the path"),
    Broken("database in no folder", "seed: 42", "storage: 'sqlite:////tmp/no/such/#%/trials.db'", "storage", "/tmp/no/such/#% does not"),
    Broken("database without a driver", "seed: 42", "storage: oracle://host/x", "storage", "'oracle', for which oracledb is not installed"),
    Broken("unknown database", "seed: 42", "storage: carrots://host/x", "storage", "a database that SQLAlchemy knows"),
    Broken("tracking by a file store", "seed: 42", "tracking: {uri: ./mlruns}", "tracking.uri", "got './mlruns'; allowed: http://host:port"),
    Broken("tracking relative to anywhere", "seed: 42", "tracking: {uri: sqlite:///mlflow.db}", "tracking.uri", "relative to wherever a process runs"),
    Broken("tracking by nobody", "seed: 42", "tracking: {uri: 'http://'}", "tracking.uri", "which names no host"),
    Broken("tracking by an unknown scheme", "seed: 42", "tracking: {uri: carrots://x}", "tracking.uri", "got 'carrots://x'"),
    Broken("tracking in a path with escapes", "seed: 42", "tracking: {uri: 'sqlite:////tmp/a%20b#c/mlflow.db'}", "tracking.uri", "a path without #, %"),
    Broken("tracking in no folder", "seed: 42", "tracking: {uri: sqlite:////tmp/no/such/mlflow.db}", "tracking.uri", "/tmp/no/such does not"),
    Broken("unknown choice", "    method: full", "    method: ful", "arms.sft.method", "did you mean 'full'?"),
    Broken("sampler deaf to ended trials", "    method: full", "    method: full\n    sampler: gp", "arms.sft.sampler", "got 'gp' beside pruning and constraints, though it learns from completed trials alone", "gp"),
    Broken("unknown sampler", "    method: full", "    method: full\n    sampler: bayes", "arms.sft.sampler", "allowed: 'tpe', 'random', 'grid', 'gp', 'qmc'", "bayes"),
    Broken("inverted range", LORA_RATE, "optimizer.learning_rate: {low: 1e-2, high: 1e-4, log: true}", RATE, "allowed: low below high"),
    Broken("log range from 0", LORA_RATE, "optimizer.learning_rate: {low: 0, high: 1e-2, log: true}", RATE, "allowed: a low above 0"),
    Broken("range from 0", LORA_RATE, "optimizer.learning_rate: {low: 0, high: 1e-2}", RATE, "got 0; allowed: above 0"),
    Broken("infinite range", LORA_RATE, "optimizer.learning_rate: {low: 1e-4, high: .inf}", f"{RATE}.high", "a finite number"),
    Broken("log with step", LORA_RATE, "optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true, step: 1e-4}", RATE, "allowed: one of the two"),
    Broken("step that misses", "step: 0.05}", "step: 0.03}", "arms.lora.space.method.dropout", "allowed: a step that ends on high"),
    Broken("half a range", LORA_RATE, "optimizer.learning_rate: {low: 1e-4}", RATE, "high is missing"),
    Broken("duplicate key", "seed: 42", "seed: 42\nseed: 43", "seed", "given twice", "seed: 43"),
    Broken("empty choices", "{choices: [4, 8, 16]}", "{choices: []}", "arms.lora.space.method.rank.choices", "got an empty list"),
    Broken("repeated choice", "{choices: [4, 8, 16]}", "{choices: [4, 8, 16, 8]}", "arms.lora.space.method.rank.choices", "differ from one another"),
    Broken("choice outside its field", "{choices: [4, 8, 16]}", "{choices: [0, 8, 16]}", "arms.lora.space.method.rank", "got 0; allowed: at least 1"),
    Broken("fractions of a rank", "{choices: [4, 8, 16]}", "{low: 4.0, high: 16.5}", "arms.lora.space.method.rank", "allowed: whole numbers"),
    Broken("unknown targets", "method.alpha_over_rank: 2.0", "method.alpha_over_rank: 2.0\n      method.targets: atention", "arms.lora.space.method.targets", "did you mean 'attention'?", "atention"),
    Broken("nothing for a value", "{choices: [4, 8, 16]}", "", "arms.lora.space.method.rank", "got nothing", "      method.rank: "),
    Broken("unknown hyperparameter", "method.alpha_over_rank: 2.0", "method.alpha_over_rnak: 2.0", "arms.lora.space.method.alpha_over_rnak", "did you mean 'method.alpha_over_rank'?"),
    Broken("another method's name", SFT_RATE, f"{SFT_RATE}      method.rank: 8\n", "arms.sft.space.method.rank", "unknown name", "      method.rank: 8"),
    Broken("scale twice", "method.alpha_over_rank: 2.0", "method.alpha_over_rank: 2.0\n      method.alpha: 32", "arms.lora.space", "exactly one of method.alpha", "XX"),
    Broken("no scale", "      method.alpha_over_rank: 2.0\n", "", "arms.lora.space", "got no scale", "XX"),
    Broken("condition on nothing", "method.alpha_over_rank: 2.0", "method.alpha_over_rank: 2.0\n      schedule.floor_share: {value: 0.1, when: {method.rnak: 8}}", "arms.lora.space.schedule.floor_share.when", "allowed: another name of this space", "rnak"),
    Broken("unknown space", "    space:\n" + SFT_RATE, "    space: fulll\n", "arms.sft.space", "allowed: full, lora"),
    Broken("searched length", SFT_RATE, f"{SFT_RATE}      batch.sequence_length: {{choices: [128, 256]}}\n", "arms.sft.space.batch.sequence_length", "training.batch.sequence_length", "sequence_length: {choices"),
    Broken("start outside its space", "{method.rank: 8, optimizer", "{method.rank: 7, optimizer", "arms.lora.starts.1.method.rank", "got 7; allowed in this arm's space: 4, 8, 16", "method.rank: 7"),
    Broken("start above its range", "      - {optimizer.learning_rate: 3e-4}", "      - {optimizer.learning_rate: 3e-1}", "arms.sft.starts.0.optimizer.learning_rate", "got 0.3; allowed in this arm's space: 1e-05 to 0.005"),
    Broken("start of an unknown name", "{method.rank: 8, optimizer", "{method.ranc: 8, optimizer", "arms.lora.starts.1.method.ranc", "names of this arm's space", "ranc"),
    Broken("grid that cannot be listed", "    method: full", "    method: full\n    sampler: grid", "arms.sft.space.optimizer.learning_rate", "allowed in a grid", "low: 1e-5"),
    Broken("impossible batch split", "blocks: 8, micro_blocks: 8}", "blocks: 8, micro_blocks: 3}", "training.batch.blocks", "allowed: a multiple of 3", "micro_blocks: 3"),
    Broken("workers that do not divide", "seed: 42", "resources: {workers: 3}", "training.batch.blocks", "workers 3", "micro_blocks: 8"),
    Broken("budget below one step", "  tokens: 65536", "  tokens: 1024", "budget.tokens", "at least one step, 2048"),
    Broken("rung below one step", "  first_rung: 16384", "  first_rung: 1024", "pruning.first_rung", "at least one step, 2048"),
    Broken("rung above the budget", "  first_rung: 16384", "  first_rung: 65536", "pruning.first_rung", "below budget.tokens, 65536"),
    Broken("rung inside warm-up", "  first_rung: 16384", "  first_rung: 4096", "pruning.first_rung", "inside the warm-up of arm lora"),
    Broken("searched shape while pruning", SFT_RATE, f"{SFT_RATE}      schedule.shape: {{choices: [cosine, linear]}}\n", "arms.sft.space.schedule.shape", "no pruning", "schedule.shape"),
    Broken("unknown stratum", "  reduction_factor: 2", "  stratum: method.rnk", "pruning.stratum", "did you mean 'method.rank'?"),
    Broken("stratum without values", "  reduction_factor: 2", "  stratum: optimizer.learning_rate", "pruning.stratum", "a range"),
    Broken("several objectives while pruning", "  - metric: eval/bits_per_character", "  - metric: eval/bits_per_character\n  - metric: retention/english", "pruning", "no pruning with several objectives", "pruning:"),
    Broken("unknown metric", "  - metric: eval/bits_per_character", "  - metric: eval/perplexty", "objectives.0.metric", "did you mean 'eval/perplexity'?"),
    Broken("weight of a stranger", "objectives:", "weights: {eval/perplexty: 1}\nobjectives:", "weights.eval/perplexty", "did you mean 'eval/perplexity'?", "weights:"),
    Broken("no weight counts", "objectives:", "weights: {eval/perplexity: 0}\nobjectives:", "weights", "at least one", "weights:"),
    Broken("unknown script", "  - metric: eval/bits_per_character", "  - metric: script/kanzi/accuracy", "objectives.0.metric", "script/kanji/accuracy"),
    Broken("objective on the test split", "  - metric: eval/bits_per_character", "  - metric: test/perplexity", "objectives.0.metric", "never sees the test split"),
    Broken("objective of the training curve", "  - metric: eval/bits_per_character", "  - metric: train/loss", "objectives.0.metric", "got 'train/loss', which is a point of the training curve"),
    Broken("objective told at the end", "  - metric: eval/bits_per_character", "  - {metric: train/tokens, direction: maximize}", "objectives.0.metric", "told when the run has ended"),
    Broken("objective measured after training", "  - metric: eval/bits_per_character", "  - metric: scaled/0.5/perplexity", "objectives.0.metric", "measured after training"),
    Broken("objective of another command", "  - metric: eval/bits_per_character", "  - metric: task/jcommonsenseqa/accuracy", "objectives.0.metric", "measured by hikaku evaluate"),
    Broken("constraint of the machine's load", "{metric: retention/english, at_least: 0.5}", "{metric: system/cpu_utilization_percentage, at_most: 90}", "constraints.0.metric", "a point of the training curve"),
    Broken("constraint without a meter", "{metric: retention/english, at_least: 0.5}", "{metric: efficiency/energy_kwh, at_most: 1}", "constraints.0.metric", "which only a GPU has; allowed where trials run on CPUs: another metric"),
    Broken("constraint on a GPU's memory", "{metric: retention/english, at_least: 0.5}", "{metric: efficiency/reserved_memory_gib, at_most: 1}", "constraints.0.metric", "which only a GPU has"),
    Broken("objective known too late", f"blocks: 8, micro_blocks: 8}}\n{PRUNING_AND_OBJECTIVE}", f"blocks: 32, micro_blocks: 8}}\n{PRUNING_AND_OBJECTIVE}".replace("eval/bits_per_character", "efficiency/tokens_per_second"), "objectives.0.metric", "known after 3 steps, of which a trial has 2 when it is first judged, at 16384 tokens", "tokens_per_second"),
    Broken("objective of too short a curve", f"micro_blocks: 8}}\n{PRUNING_AND_OBJECTIVE}", f"micro_blocks: 8}}\n  curve_every: 10000\n{PRUNING_AND_OBJECTIVE}".replace("eval/bits_per_character", "convergence/tokens_to_95"), "objectives.0.metric", "known after 2 points of the training curve, of which a trial has 1", "tokens_to_95"),
    Broken("wrong direction", "  - metric: eval/bits_per_character", "  - {metric: eval/perplexity, direction: maximize}", "objectives.0.direction", "minimize, for eval/perplexity"),
    Broken("no objective", "  - metric: eval/bits_per_character", "  []", "objectives", "got an empty list", "objectives:"),
    Broken("constraint without bound", "{metric: retention/english, at_least: 0.5}", "{metric: retention/english}", "constraints.0", "exactly one of at_least, at_most"),
    Broken("constraint with two bounds", "at_least: 0.5}", "at_least: 0.5, at_most: 2}", "constraints.0", "got both"),
    Broken("constraint on an unknown set", "{metric: retention/english", "{metric: retention/chinese", "constraints.0.metric", "role retain (english)"),
    Broken("nothing to adapt to", "{role: adapt, embedded: japanese}", "{role: retain, embedded: japanese}", "data", "no set with role adapt", "data:"),
    Broken("texts from two places", "    embedded: english", "    embedded: english\n    path: texts", "data.english", "given: embedded, path", "english:"),
    Broken("texts that are not there", "    embedded: english", "    path: no_texts", "data.english.path", "no such file, folder or glob"),
    Broken("sequences beyond the context", "sequence_length: 256", "sequence_length: 1024", "training.batch.sequence_length", "at most 512, the model's context"),
    Broken("model folder that is not there", "  path: model", "  path: no_model", "model.path", "allowed: a folder that exists"),
    Broken("model folder without a model", "  path: model", "  path: texts", "model.path", "no config.json"),
    Broken("two models", "  licence: MIT", "  licence: MIT\n  embedded: small", "model", "got embedded and path", "model:"),
    Broken("hub model without revision", "  path: model", "  id: Qwen/Qwen2.5-0.5B", "model.revision", "40 hexadecimal digits", "model:"),
    Broken("malformed revision", "  path: model", "  id: Qwen/Qwen2.5-0.5B\n  revision: main", "model.revision", "got 'main'", "revision: main"),
    Broken("name that is no folder's", "name: good", "name: Good Study!", "name", "got 'Good Study!'; allowed: a to z"),
    Broken("unknown precision", "training:\n", "training:\n  precision: fp8\n", "training.precision", "got 'fp8'", "fp8"),
    Broken("two kinds of value", "seed: 42", "resources: {gpus_per_worker: some}", "resources.gpus_per_worker", "allowed: 'auto' or a number"),
    Broken("function without a module", "  - metric: eval/bits_per_character", "  - function: my_function", "objectives.0.function", "got 'my_function'"),
    Broken("tab", "  trials: 4", "\ttrials: 4", "", "got a tab in the indentation"),
    Broken("brackets left open", "{choices: [4, 8, 16]}", "{choices: [4, 8, 16}", "", "not YAML"),
)  # fmt: skip


def write_surroundings(folder: Path) -> None:
    """Write what the good study points at: a model folder of the right shape, and a folder of texts that is no model."""
    config = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 4, "num_hidden_layers": 5}
    sizes = config | {"intermediate_size": 172, "vocab_size": 512, "max_position_embeddings": 512, "tie_word_embeddings": True}
    (folder / "model").mkdir()
    write_empty_model(folder / "model", sizes)
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("a text")
