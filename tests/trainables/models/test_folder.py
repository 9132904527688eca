"""A model folder that is not whole, not a model, or not that of its configuration is refused in a line, before torch is imported."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from records.refusals import Refusal
from tests.support.broken_studies import write_surroundings
from tests.support.tiny import write_model
from trainables.models.folder import WEIGHTS_FILE, inspect_folder
from trainables.models.model import load_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_surroundings(tmp_path)
    return tmp_path / "model"


def _change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def _change_weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS_FILE)
        change(weights)
        save_file(weights, folder / WEIGHTS_FILE)

    return rewrite


def _change_tokenizer(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, **changes}))

    return change


def _write(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


def _cut(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-30])

    return cut


def _rename(name: str, other: str) -> Callable[[Path], None]:
    def rename(folder: Path) -> None:
        (folder / name).rename(folder / other)

    return rename


def _split(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).unlink()
    names = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(weights)}
    for file in set(names.values()):
        save_file({name: weights[name] for name, place in names.items() if place == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def _lose_map(folder: Path) -> None:
    _split(folder)
    (folder / "model.safetensors.index.json").write_text("{}")


def _lose_shard(folder: Path) -> None:
    _split(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 99\n"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "quantised": (_change_config(quantization_config={"quant_method": "gptq"}), r"quantised \(gptq\)"),
    "8-bit weights": (_change_weights(lambda weights: weights.update({"model.norm.weight": np.zeros(64, np.int8)})), "norm.weight is I8"),
    "an adapter beside": (_write("adapter_config.json", "{}"), "holds an adapter"),
    "LFS weights": (_write(WEIGHTS_FILE, POINTER), "model.safetensors, a pointer of Git LFS"),
    "LFS tokenizer": (_write("tokenizer.json", POINTER), "tokenizer.json, a pointer of Git LFS"),
    "cut weights": (_cut(WEIGHTS_FILE), "damaged or cut short"),
    "empty weights": (_write(WEIGHTS_FILE, ""), "damaged or cut short"),
    "a shard missing": (_lose_shard, "lacks model-00002-of-00002.safetensors"),
    "an index without a map": (_lose_map, "which has no weight_map"),
    "a pickle": (_rename(WEIGHTS_FILE, "pytorch_model.bin"), "weights in safetensors"),
    "weights by another name": (_rename(WEIGHTS_FILE, "weights.safetensors"), "weights in safetensors"),
    "no head": (_change_config(tie_word_embeddings=False), "lack lm_head.weight"),
    "a layer too few": (_change_config(num_hidden_layers=6), "lack model.layers.5.*and 6 more"),
    "another vocabulary": (_change_config(vocab_size=600), r"embed_tokens.weight is \[512, 64\].*\[600, 64\]"),
    "another width": (_change_config(intermediate_size=200), r"is \[.*172.*config.json means, \[.*200"),
    "biases that are not there": (_change_config(attention_bias=True), "lack model.layers.0.self_attn.q_proj.bias"),
    "a config cut short": (_cut("config.json"), "config.json is no JSON"),
    "a config that is a list": (_write("config.json", "[]"), "holds no JSON object"),
    "no type": (_change_config(model_type=None), "model_type None is not supported"),
    "a size that is text": (_change_config(hidden_size="64"), "hidden_size is '64'; allowed: a whole number from 1"),
    "no layers": (_change_config(num_hidden_layers=0), "num_hidden_layers is 0"),
    "groups that do not divide": (_change_config(num_key_value_heads=3), "num_attention_heads is 8; allowed: a multiple"),
    "a token beyond the embedding": (
        _change_tokenizer(model={"vocab": {"a": 0, "b": 512}}),
        "'b' the id 512; allowed: ids below 512",
    ),
    "an added token beyond": (_change_tokenizer(added_tokens=[{"id": 700, "content": "<x>", "special": False}]), "gives '<x>' the id 700"),
    "a tokenizer cut short": (_cut("tokenizer.json"), "tokenizer.json is no JSON"),
    "a bare sentencepiece": (_rename("tokenizer.json", "tokenizer.model"), "sentencepiece file and no tokenizer.json"),
    "no tokenizer": (_rename("tokenizer.json", "other.txt"), "has no tokenizer.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_by_name(damage: str, folder: Path) -> None:
    harm, says = DAMAGES[damage]
    inspect_folder(folder)
    harm(folder)
    with pytest.raises(Refusal, match=says) as refusal:
        inspect_folder(folder)
    assert "\n" not in str(refusal.value)


def test_shards_a_model_without_its_prefix_and_what_no_one_uses_are_told(folder: Path) -> None:
    whole = inspect_folder(folder)
    assert (whole.dtypes, whole.unused, whole.tokens_beyond) == (("F16",), (), ())
    _split(folder)
    assert inspect_folder(folder) == whole
    for path in folder.glob("model-*.safetensors"):
        save_file({name.removeprefix("model."): weight for name, weight in load_file(path).items()}, path)
    assert inspect_folder(folder) == whole


def test_what_is_not_used_is_named(folder: Path) -> None:
    _change_weights(lambda weights: weights.update({"score.weight": np.zeros((2, 64), np.float16), "lm_head.weight": np.zeros(1)}))(folder)
    _change_tokenizer(added_tokens=[{"id": 512, "content": "<image>", "special": True}])(folder)
    look = inspect_folder(folder)
    assert (look.unused, look.tokens_beyond) == (("score.weight",), ("<image>",))


def test_a_look_imports_no_torch(folder: Path) -> None:
    code = "import sys, pathlib; from trainables.models.folder import inspect_folder; inspect_folder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules", str(folder)], check=True)


def test_loading_fills_nothing_at_random_and_believes_no_number_that_is_none(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", tied=False)
    weights = load_tensors(folder / WEIGHTS_FILE)
    save_tensors({name: weight for name, weight in weights.items() if name != "lm_head.weight"}, folder / WEIGHTS_FILE)
    with pytest.raises(Refusal, match=r"lack lm_head\.weight"):
        load_network(folder, "fp32")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan
    save_tensors(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    with pytest.raises(Refusal, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds numbers that are not finite"):
        load_network(folder, "fp32")
