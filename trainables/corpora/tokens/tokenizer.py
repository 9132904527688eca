"""Texts to tokens: a model folder's tokenizer reduced to what texts and their prompts need, and documents in tokens."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from records.refusals import as_refusal
from trainables.corpora.sources import DataSet, Document, SplitName, Texts
from trainables.corpora.templates import PLAIN, make_renderer

if TYPE_CHECKING:
    from trainables.corpora.tokens.attribution import Spans
    from trainables.corpora.tokens.packing import Passage, Tokens

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")  # an instruct model's EOS ends a turn; these end a text


@dataclass(frozen=True)
class Tokenizer:
    """A fast tokenizer: ids of a text and back, what stands before and after one, and a digest of all.

    `start` and `end` are one token, the end of the text before, in models without a token that begins a text. `turn_end` is the
    tokenizer's own EOS: what ends an answer in a chat template.
    """

    loaded: Any  # transformers'
    start: int
    end: int
    turn_end: int
    digest: str
    find_bytes: "Callable[[str, Tokens], Spans]"  # of a text and its tokens: each token's first byte and the one after its last

    def choose_end(self, *, is_turn: bool) -> int:
        """Return the token that training teaches after a text or, where it is one, after a turn of a chat."""
        return self.turn_end if is_turn else self.end

    def find_ends(self, network: Any) -> list[int]:
        """Return, in order, all tokens that end a text or a turn: those that training teaches, and those that the model names itself.

        `network` is transformers' model, which names them in its configuration and its settings of generation. Generation stops at
        these, and an exported model names them.
        """
        ends = {self.choose_end(is_turn=False), self.choose_end(is_turn=True)}
        for settings in (network.config, network.generation_config):
            named: int | list[int] | None = settings.eos_token_id
            ends |= set() if named is None else set(named) if isinstance(named, list) else {named}
        return sorted(ends)

    def encode(self, texts: Sequence[str]) -> "list[Tokens]":
        """Return the ids of every text, nothing added; "<|endoftext|>" inside a text is text."""
        return self._encode(texts, special=False)

    def encode_prompts(self, prompts: Sequence[str]) -> "list[Tokens]":
        """Return the ids of prompts as a chat template writes them: special tokens are themselves, and `start` does not lead.

        It is what stands before every sequence already.
        """
        return [ids[1:] if len(ids) and ids[0] == self.start else ids for ids in self._encode(prompts, special=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        return self.loaded.backend_tokenizer.decode(ids)

    def _encode(self, texts: Sequence[str], *, special: bool) -> "list[Tokens]":
        import numpy as np

        backend: Any = self.loaded.backend_tokenizer
        backend.encode_special_tokens = not special  # a setting of the shared tokenizer, and so put back below
        ids = [np.array(encoding.ids, np.int32) for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        backend.encode_special_tokens = True
        return ids


class Encoded(NamedTuple):
    """A document in tokens: what is given (`start` and the prompt as its template writes it), the text, and what ends it."""

    document: Document
    prompt: str
    given: "Tokens"
    tokens: "Tokens"
    end: int

    def passage(self, *, ended: bool) -> "Passage":
        """Return it as the model meets it; its end is learnt, and never measured."""
        import numpy as np

        from trainables.corpora.tokens.packing import Passage

        return Passage(np.concatenate([self.given, self.tokens, np.array([self.end] if ended else [], np.int32)]), len(self.given))


def load_text_tokenizer(model_folder: Path) -> Tokenizer:
    """Return the tokenizer of a model folder. Raises ValueError where it is not a fast one, or names no token that ends a text."""
    from trainables.corpora.tokens.attribution import ByteSpans

    loaded: Any = load_tokenizer(model_folder)
    if not loaded.is_fast:
        raise ValueError(f"{model_folder}: a fast tokenizer is needed (tokenizer.json, or vocab.json with merges.txt)")
    backend: Any = loaded.backend_tokenizer
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()
    vocabulary = backend.get_vocab(with_added_tokens=True)
    end = next((vocabulary[token] for token in END_OF_TEXT if token in vocabulary), loaded.eos_token_id)
    if end is None:
        raise ValueError(f"{model_folder}: the tokenizer names no token that ends a text")
    start = end if loaded.bos_token_id is None else loaded.bos_token_id
    turn_end = end if loaded.eos_token_id is None else loaded.eos_token_id
    account = f"{start} {end} {turn_end}\n{loaded.chat_template}\n{backend.to_str()}"
    return Tokenizer(loaded, start, end, turn_end, hashlib.sha256(account.encode()).hexdigest(), ByteSpans(backend).find)


def encode_splits(data_set: DataSet, texts: Texts, tokenizer: Tokenizer) -> dict[SplitName, list[Encoded]]:
    """Return each split's documents within its cap of tokens, in the order given.

    Raises ValueError for a text of which the tokenizer makes no token, a template that is broken, or a prompt that it refuses.
    """
    return {
        split: _encode(documents, data_set, texts.template, tokenizer, _cap(data_set, split)) for split, documents in texts.splits.items()
    }


def _encode(documents: Sequence[Document], data_set: DataSet, template: str, tokenizer: Tokenizer, most: int | None) -> list[Encoded]:
    import numpy as np

    from trainables.corpora.tokens.packing import choose_within

    # All at once: the tokenizer shares a batch among threads.
    tokens = tokenizer.encode([document.text for document in documents])
    empty = next((document.id for document, ids in zip(documents, tokens, strict=True) if not len(ids)), None)
    if empty is not None:
        raise ValueError(f"{empty}: the tokenizer makes no token of this text")
    places = choose_within([len(ids) for ids in tokens], most)
    # Only of the documents that are used: a template may refuse a prompt that nobody needs.
    prompts = _write_prompts([documents[place] for place in places], data_set.system, template, tokenizer)
    start = np.array([tokenizer.start], np.int32)
    encoded: list[Encoded] = []
    for place, prompt, ids in zip(places, prompts, tokenizer.encode_prompts(prompts), strict=True):
        # A plain answer ends as a text does; in any other template it is a turn.
        end = tokenizer.choose_end(is_turn=bool(prompt) and template != PLAIN)
        encoded.append(Encoded(documents[place], prompt, np.concatenate([start, ids]), tokens[place], end))
    return encoded


def _write_prompts(documents: Sequence[Document], system: str | None, template: str, tokenizer: Tokenizer) -> list[str]:
    if not template:
        return [""] * len(documents)
    render = make_renderer(tokenizer.loaded, template, system)
    prompts: list[str] = []
    for document in documents:
        try:
            prompts.append(render(document.prompt) if document.prompt else "")
        except ValueError as error:
            raise as_refusal(error).at(document.id) from None
    return prompts


def _cap(data_set: DataSet, split: SplitName) -> int | None:
    return data_set.training_tokens if split == "train" else data_set.evaluation_tokens


def load_tokenizer(folder: Path) -> Any:
    """Return the fast tokenizer of a model folder."""
    import transformers

    library: Any = transformers
    return library.AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
