"""How likely a model holds given continuations of given contexts: what tasks by log-likelihood are made from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from records.refusals import Refusal
from trainables.corpora.tokens.tokenizer import Tokenizer
from trainables.evaluation.tasks import Continuation, Score
from trainables.models.loss import IGNORED, token_nats
from trainables.models.model import LanguageModel


class ModelScorer:
    """A `Scorer`: the model on its device, which computes at most `tokens_per_pass` tokens at once, like lengths together.

    A context begins with the token that begins a text; context and continuation are tokenised apart and their ids joined, as the
    prompts of training data are. Results do not depend on the grouping, beyond the rounding of the model's own matrix products.
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, device: torch.device | str, *, tokens_per_pass: int = 8192) -> None:
        self._model, self._tokenizer, self._device, self._tokens_per_pass = model, tokenizer, torch.device(device), tokens_per_pass

    @torch.no_grad()
    def __call__(self, continuations: Sequence[Continuation]) -> list[Score]:
        """Return a score for each continuation, in order; the model's training mode is left as it was.

        Raises ValueError where one has no token, is longer with its context than the model's context, or gets no finite likelihood.
        """
        context_ids = self._tokenizer.encode([continuation.context for continuation in continuations])
        contexts = [[self._tokenizer.start, *ids] for ids in context_ids]
        texts = [ids.tolist() for ids in self._tokenizer.encode([continuation.text for continuation in continuations])]
        self._check(continuations, contexts, texts)
        # The last token is only ever a target, so a row is one shorter than its tokens.
        lengths = [len(context) + len(text) - 1 for context, text in zip(contexts, texts, strict=True)]
        scores: dict[int, Score] = {}
        training = self._model.training
        self._model.eval()
        try:
            for rows in self._plan(lengths):
                nats = self._measure([contexts[row] for row in rows], [texts[row] for row in rows])
                scores |= {row: Score(nats[place], len(texts[row]), len(continuations[row].text)) for place, row in enumerate(rows)}
        finally:
            self._model.train(training)
        if not np.isfinite([score.nats for score in scores.values()]).all():
            raise ValueError("the model gives no finite likelihood: its weights have diverged")
        return [scores[row] for row in range(len(continuations))]

    def _check(self, continuations: Sequence[Continuation], contexts: list[list[int]], texts: list[list[int]]) -> None:
        most = self._model.config.max_position_embeddings
        for continuation, context, text in zip(continuations, contexts, texts, strict=True):
            length = len(context) + len(text) - 1
            if not text:
                raise ValueError(f"the tokenizer makes no token of the continuation {continuation.text!r}")
            if length > most:
                raise Refusal(f"{continuation.text!r} after its context", f"{length} tokens", f"at most {most}, the model's context")

    def _plan(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return the rows of every pass, the longest first."""
        order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        passes: list[list[int]] = []
        while order:
            count = max(1, self._tokens_per_pass // lengths[order[0]])
            passes.append(order[:count])
            order = order[count:]
        return passes

    def _measure(self, contexts: list[list[int]], texts: list[list[int]]) -> list[float]:
        """Return every row's nats, those of its text alone, summed in float64."""
        lengths = [len(context) + len(text) - 1 for context, text in zip(contexts, texts, strict=True)]
        width = max(lengths)
        inputs_bt = torch.zeros(len(texts), width, dtype=torch.long)  # padding stands on the right, where nothing before sees it
        targets_bt = torch.full_like(inputs_bt, IGNORED)
        for row, (context, text) in enumerate(zip(contexts, texts, strict=True)):
            end = lengths[row]
            inputs_bt[row, :end] = torch.tensor((context + text)[:-1])
            targets_bt[row, len(context) - 1 : end] = torch.tensor(text)  # the context's last token predicts the text's first
        targets_bt = targets_bt.to(self._device)
        is_target_bt = targets_bt != IGNORED  # the head is computed there alone
        hidden_td = self._model.hidden_states(inputs_bt.to(self._device))[is_target_bt]
        nats_t, _ = token_nats(hidden_td, self._model.head, targets_bt[is_target_bt])
        row_of_token_t = is_target_bt.nonzero()[:, 0]
        return _sum_by_row(nats_t, row_of_token_t, len(texts)).tolist()


def _sum_by_row(values: Tensor, rows: Tensor, count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.float64, device=values.device).index_add_(0, rows, values.double())
