"""One look at a model folder, without torch: is it whole, is it a model that hikaku trains, and are its weights those of its configuration.

Only what transformers will read is looked at: config.json, the headers of the safetensors that it would load, the tokenizer's files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from records.refusals import Refusal
from trainables.shape import WHOLE, ModelShape, read_config, read_json_object, shape_of

WEIGHTS, WEIGHTS_FILE, INDEX_FILE = "*.safetensors", "model.safetensors", "model.safetensors.index.json"
READ = [WEIGHTS, "*.json", "*.txt", "*.model"]  # weights, configuration and tokenizer; nothing that is code or a pickle
LFS_POINTER = b"version https://git-lfs"
FLOATS = {"F64", "F32", "F16", "BF16"}  # safetensors' names
FLOATING = "a model in float32, float16 or bfloat16"
NAMED = 3  # parameters that a line names


@dataclass(frozen=True)
class StoredParameter:
    """Where a parameter lies: file, name in it, shape and safetensors' name of its type."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelFolder:
    """What a look at a folder tells: the model's shape, its weights' types, and what lies there that no one will use."""

    shape: ModelShape
    dtypes: tuple[str, ...]
    unused: tuple[str, ...]  # names of parameters in the files
    tokens_beyond: tuple[str, ...]  # special tokens whose ids the embedding does not reach


def inspect_folder(folder: Path) -> ModelFolder:
    """Return what a look at a model folder tells. Raises Refusal naming file and fault where it cannot be used as it is."""
    check_files(folder)
    config = read_config(folder)
    if config.get("quantization_config"):
        kind = cast(Mapping[str, Any], config["quantization_config"]).get("quant_method", "unknown")
        raise Refusal(got=f"{folder}, whose weights are quantised ({kind})", allowed=FLOATING)
    shape = shape_of(config, folder / "config.json")
    parameters, unused = match_parameters(folder, shape)
    beyond = _check_tokenizer(folder, shape)
    return ModelFolder(shape, tuple(sorted({stored.dtype for stored in parameters.values()})), unused, beyond)


def check_files(folder: Path) -> None:
    """Check that a folder has the files of a model, each of them itself. Raises Refusal naming the first that is not."""
    if not folder.is_dir():
        raise Refusal(got=folder, allowed="a folder that exists")
    if not (folder / "config.json").exists():
        raise Refusal(got=f"{folder}, which has no config.json", allowed="a model folder in Hugging Face format")
    if (folder / "adapter_config.json").exists():
        raise Refusal(
            got=f"{folder}, which holds an adapter (adapter_config.json)", allowed="a whole model, the adapter merged or taken out"
        )
    for path in sorted(path for pattern in READ for path in folder.glob(pattern)):
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise Refusal(got=f"{path}, a pointer of Git LFS", allowed="the file itself: run git lfs pull in its folder")


def locate_weights(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files that transformers reads. Raises Refusal where there are none, or one that the index names is missing."""
    if (folder / WEIGHTS_FILE).exists():
        return (folder / WEIGHTS_FILE,)
    index = folder / INDEX_FILE
    if not index.exists():
        raise Refusal(got=f"{folder}, which has neither {WEIGHTS_FILE} nor {INDEX_FILE}", allowed="weights in safetensors")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal(got=f"{index}, which has no weight_map", allowed=WHOLE) from None
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise Refusal(got=f"{folder}, which lacks {missing[0]}", allowed=f"all {len(names)} files that {INDEX_FILE} names")
    return tuple(folder / name for name in names)


def match_parameters(folder: Path, shape: ModelShape) -> tuple[dict[str, StoredParameter], tuple[str, ...]]:
    """Return every parameter of the shape's model with where it lies in the files, and the names in the files that are none of them.

    Raises Refusal naming parameters that are missing, of another shape, or no floating-point numbers, and files that are cut short.
    """
    stored = {parameter.name: parameter for path in locate_weights(folder) for parameter in _read_header(path)}
    expected, renamed = shape.parameter_shapes(), shape.architecture.earlier_names
    prefix = shape.architecture.layer.partition(".")[0]  # a model saved without its head has names without it
    found: dict[str, StoredParameter] = {}
    for name, parameter in stored.items():
        found[next((each for each in (name, renamed.get(name, ""), f"{prefix}.{name}") if each in expected), name)] = parameter
    missing = [name for name in expected if name not in found]
    if missing:
        raise Refusal(
            got=f"{folder}, whose weights lack {_name_some(missing)}", allowed=f"all {len(expected)} parameters of its config.json"
        )
    for name, wanted in expected.items():
        parameter = found[name]
        if parameter.shape != wanted:
            allowed = f"the shape that its config.json means, {list(wanted)}"
            raise Refusal(got=f"{parameter.file}, where {parameter.name} is {list(parameter.shape)}", allowed=allowed)
        if parameter.dtype not in FLOATS:
            raise Refusal(got=f"{parameter.file}, where {parameter.name} is {parameter.dtype}", allowed=FLOATING)
    unused = tuple(parameter.name for name, parameter in found.items() if name not in expected and not _is_tied_head(name, shape))
    return {name: found[name] for name in expected}, unused


def _is_tied_head(name: str, shape: ModelShape) -> bool:
    return shape.tied_embeddings and name in {shape.architecture.head, *shape.architecture.earlier_names}


def _read_header(path: Path) -> Iterator[StoredParameter]:
    from safetensors import SafetensorError, safe_open

    opened: Any = safe_open  # without types of its own
    try:
        with opened(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary, and cannot be gone through
                part = file.get_slice(name)
                yield StoredParameter(path, name, tuple(part.get_shape()), part.get_dtype())
    except (SafetensorError, OSError) as error:
        raise Refusal(got=f"{path}, which is damaged or cut short ({error})", allowed="a whole file; fetch it again") from None


def _check_tokenizer(folder: Path, shape: ModelShape) -> tuple[str, ...]:
    """Return the special tokens whose ids the embedding does not reach.

    Raises Refusal where there is no tokenizer that can be read, or where an ordinary token's id lies beyond the embedding.
    """
    vocabulary, special = _read_tokens(folder)
    beyond = {token: number for token, number in vocabulary.items() if number >= shape.vocabulary}
    ordinary = {token: number for token, number in beyond.items() if token not in special}
    if ordinary:
        token, number = max(ordinary.items(), key=lambda item: item[1])
        got = f"{folder}, whose tokenizer gives {token!r} the id {number}"
        raise Refusal(got=got, allowed=f"ids below {shape.vocabulary}, the rows of its embedding")
    return tuple(sorted(beyond))


def _read_tokens(folder: Path) -> tuple[dict[str, int], set[str]]:
    """Return token -> id of a folder's tokenizer, and which of them are special."""
    if (folder / "tokenizer.json").exists():
        return _read_fast_tokens(folder / "tokenizer.json")
    if (folder / "vocab.json").exists():
        added = read_json_object(folder / "added_tokens.json") if (folder / "added_tokens.json").exists() else {}
        return read_json_object(folder / "vocab.json") | added, set(added)
    if any(folder.glob("*.model")):
        allowed = "tokenizer.json, which AutoTokenizer.from_pretrained(...).save_pretrained(...) writes where sentencepiece is installed"
        raise Refusal(got=f"{folder}, which has a sentencepiece file and no tokenizer.json", allowed=allowed)
    raise Refusal(got=f"{folder}, which has no tokenizer.json", allowed="a model folder with its tokenizer")


def _read_fast_tokens(path: Path) -> tuple[dict[str, int], set[str]]:
    """Return token -> id of a tokenizer.json, and which of them are special."""
    whole = read_json_object(path)
    try:
        entries: dict[str, int] | list[tuple[str, float]] = whole["model"]["vocab"]  # in a unigram model, (piece, score)
        added: list[dict[str, Any]] = whole.get("added_tokens") or []
        pieces = entries if isinstance(entries, dict) else {piece: number for number, (piece, _) in enumerate(entries)}
        vocabulary = {token: int(number) for token, number in pieces.items()} | {token["content"]: int(token["id"]) for token in added}
        return vocabulary, {token["content"] for token in added if token.get("special")}
    except (KeyError, TypeError, ValueError, IndexError):
        raise Refusal(got=f"{path}, which has no vocabulary that can be read", allowed="a whole file, as tokenizers writes it") from None


def _name_some(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
