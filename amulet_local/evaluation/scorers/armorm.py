"""Scorers by the reward model ArmoRM, its backbone run by llama.cpp.

RLHFlow/ArmoRM-Llama3-8B-v0.1, converted by scripts/convert_armorm. The preferences are part of the
question that it sees: the attribute is how well an answer follows its instructions. Knows nothing
about how the two files were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amulet_local.common.errors import InvalidParameterError, InvalidRequestError, ModelFileError
from amulet_local.evaluation.conversion.armorm_head import (
    ATTRIBUTES,
    DEFAULT_ATTRIBUTE,
    GATE_PATTERN,
    ArmoHead,
    Vector,
    head_path,
)
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer
from amulet_local.evaluation.scorers.registry import ScorerEntry, ScorerOptions
from amulet_local.llama.embedder import Embedder, EmbedderSettings
from amulet_local.loading.isolated import loading_safely
from amulet_local.loading.model_store import find_model
from amulet_local.params.model_use import EMBEDDING
from amulet_local.prompts.chat_template import ChatTemplate

N_CTX = 4096
"""Longest conversation that is scored, in tokens."""


@dataclass(frozen=True, kw_only=True)
class Reward:
    """What ArmoRM says about an answer.

    Attributes:
        attributes: one for each of ATTRIBUTES.
        overall: the gated sum of them.
    """

    attributes: Vector
    overall: float


class ArmoRM:
    """The reward model. Remembers what it said, so that its scorers compute an answer once.

    Attributes:
        source: its file.
    """

    def __init__(self, options: ScorerOptions) -> None:
        """Load backbone and head.

        Raises:
            InvalidParameterError: no model is named.
            ModelError, FileAccessError, BackendError: it can't be used.
        """
        if options.armorm is None:
            raise InvalidParameterError(
                "the armorm scorers need the reward model: make it with scripts/convert_armorm "
                "and name the GGUF file (armorm=, --armorm FILE)"
            )
        path = find_model(options.armorm)
        settings = EmbedderSettings(
            n_ctx=N_CTX,
            n_threads=options.n_threads,
            n_gpu_layers=options.n_gpu_layers,
            pooled=False,
        )
        with loading_safely(path, "auto", EMBEDDING):
            self._embedder = Embedder(path, settings)
        try:
            model = self._embedder.model
            self._head = ArmoHead.load(head_path(path), model.n_embd)
            if model.chat_template is None:
                raise ModelFileError(f"{path.name} has no chat template: convert ArmoRM again")
            self._template = ChatTemplate(model.chat_template, model.vocabulary)
            self._gate = model.vocabulary.tokenize(
                GATE_PATTERN, add_special=False, parse_special=True
            )
        except BaseException:
            self.close()
            raise
        self.source = self._embedder.source
        self._known: dict[tuple[str, str], Reward | None] = {}

    def reward(self, answer: AnsweredQuestion) -> Reward | None:
        """What it says; None if there is no answer, or they have more than N_CTX tokens.

        Raises:
            BackendError: llama.cpp failed.
            ModelFileError: the model's template isn't that of ArmoRM.
        """
        question = "\n".join([answer.question, *answer.preferences])
        key = (question, answer.text)
        if key not in self._known:
            self._known[key] = self._compute(question, answer.text)
        return self._known[key]

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._embedder.close()

    def _compute(self, question: str, text: str) -> Reward | None:
        if not text.strip():
            return None
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": text},
        ]
        try:
            ids = self._template.encode(messages, add_generation_prompt=False).token_ids
        except InvalidRequestError:  # text that no tokenizer takes, a question of blanks
            return None
        if len(ids) > self._embedder.n_ctx:
            return None
        asked = _last_place(self._gate, ids)
        if asked is None:
            raise ModelFileError(
                "the reward model's chat template doesn't open an assistant's turn as Llama 3 does"
            )
        states = self._embedder.hidden_states(ids, [asked, len(ids) - 1])
        attributes = self._head.rewards(states[1])
        return Reward(attributes=attributes, overall=self._head.overall(attributes, states[0]))


class ArmoScorer(Scorer):
    """One figure of the reward model."""

    def __init__(self, entry: ScorerEntry, model: ArmoRM) -> None:
        self.name, self.summary, self.better = entry.name, entry.summary, entry.better
        self.source = model.source
        self._model = model
        attribute = entry.name.partition("-")[2] or DEFAULT_ATTRIBUTE
        self._index = None if attribute == "overall" else ATTRIBUTES.index(attribute)

    def scores(self, answers: Sequence[AnsweredQuestion]) -> list[float | None]:
        """The figure of each answer; None without an answer, or where it is too long."""
        return [self._figure(self._model.reward(answer)) for answer in answers]

    def close(self) -> None:
        """Free the model, for the scorers that share it as well."""
        self._model.close()

    def _figure(self, reward: Reward | None) -> float | None:
        if reward is None:
            return None
        return reward.overall if self._index is None else float(reward.attributes[self._index])


def make(entries: Sequence[ScorerEntry], options: ScorerOptions) -> list[Scorer]:
    """The scorers of these entries, on one model."""
    model = ArmoRM(options)
    return [ArmoScorer(entry, model) for entry in entries]


def _last_place(pattern: Sequence[int], ids: Sequence[int]) -> int | None:
    """Where a pattern begins for the last time."""
    n, wanted = len(pattern), list(pattern)
    for start in range(len(ids) - n, -1, -1):
        if list(ids[start : start + n]) == wanted:
            return start
    return None
