"""An engine without a model: a small vocabulary, and rows whose logits a rule makes.

Everything above the rows is real: templates, prompts, steering, llama.cpp's samplers, answers,
conversations, the server. What comes from elsewhere is what a model would have computed. What rests
on llama.cpp's own arithmetic, memory or tokenizer, or on an answer's sense, can't be shown here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from amulet_local import Engine
from amulet_local.common.errors import ContextCreationError, EngineClosedError, InvalidTextError
from amulet_local.grammar.tokens import TokenTable
from amulet_local.llama.gguf import GGUFHeader
from amulet_local.llama.stop_flag import StoppedError
from amulet_local.llama.token_search import TokenSearch
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.llama.word_starts import WordStarts
from amulet_local.loading.engine_parts import EngineParts
from amulet_local.loading.runtime_setup import context_settings, row_plan
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
from amulet_local.preferences.user_settings import settings_of_model

Rule = Callable[[Sequence[int]], np.ndarray]
"""The logits, float32[V], of what comes after these tokens."""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BOS, TURN, END = range(len(SPECIAL))
TEXT = (
    "What is yeast? How do I sleep better? Why? Name three rivers. And one lake? Thanks. Be kind. "
    "of that it for this on can you not have or from two four bed warm bread water light time day "
    "night good walk read book tea early late often some more less"
)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
N_CTX_TRAIN = 8192
UNLIKELY, END_LOGIT = -30.0, -1.0


class ScriptedVocabulary:
    """Three special tokens, every byte, and words with and without a space before them.

    It stands where the class Vocabulary does, and says what that one says of a ChatML model.
    """

    bos_id, eos_id, add_bos = BOS, END, False
    bos_text, eos_text = SPECIAL[BOS], SPECIAL[END]
    end_tokens = frozenset((BOS, END))
    reasoning_markers: Mapping[int, bytes] = {}
    special_tokens: Mapping[str, int] = {text: token for token, text in enumerate(SPECIAL)}

    def __init__(self, more: Sequence[str] = ()) -> None:
        """Make it.

        Args:
            more: further tokens.
        """
        known = re.findall(
            r"\w\w+", " ".join((TEXT, DEFAULT_SYSTEM_TEXT, *BUILT_IN_PREFERENCES.values()))
        )
        words = sorted({*more, *(form for word in known for form in (word, f" {word}"))})
        singles = [bytes((byte,)) for byte in range(256)]
        self.pieces = [b""] * len(SPECIAL) + singles + [word.encode() for word in words]
        self.n_tokens = len(self.pieces)
        self._ids = {piece: token for token, piece in enumerate(self.pieces) if piece}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._words = re.compile(b"|".join(map(re.escape, longest_first)), re.DOTALL)
        self._specials = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")
        self._closed = False

    check, text, around_gap = Vocabulary.check, Vocabulary.text, Vocabulary.around_gap
    files_before, file_tokens, kind = Vocabulary.files_before, (None, None), 2
    count, spelled = Vocabulary.count, Vocabulary.spelled
    gap_tokens, fills_gaps = (None, None, None), Vocabulary.fills_gaps

    @property
    def pointer(self) -> Any:
        """There is no native vocabulary: what asks for it needs a model."""
        raise AssertionError("this test needs a real vocabulary")

    def close(self) -> None:
        """From now on nothing is tokenised, as with a closed model."""
        self._closed = True

    def piece(self, token: int) -> bytes:
        """The bytes that `token` adds to a text."""
        self.check(token)
        return self.pieces[token]

    def source_text(self, tokens: Sequence[int]) -> str:
        """The text that was tokenised."""
        special = [text.encode() for text in SPECIAL]
        spelled = (special[n] if n < len(special) else self.pieces[n] for n in tokens)
        return b"".join(spelled).decode("utf-8", "replace")

    def spelling(self, token: int) -> str:
        """The token as it is written."""
        return SPECIAL[token] if token < len(SPECIAL) else self.pieces[token].decode("latin-1")

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """The longest token at each place, from left to right."""
        if self._closed:
            raise EngineClosedError("the model is closed; load it again")
        ids = []
        for part in self._specials.split(text) if parse_special else [text]:
            if parse_special and part in self.special_tokens:
                ids.append(self.special_tokens[part])
                continue
            try:
                encoded = part.encode()
            except UnicodeEncodeError:
                raise InvalidTextError("the text holds a lone surrogate") from None
            ids += [self._ids[piece] for piece in self._words.findall(encoded)]
        return ids

    @cached_property
    def token_table(self) -> TokenTable:
        """The texts of all tokens, sorted, for grammars."""
        return TokenTable(self.pieces, self.end_tokens)

    @cached_property
    def spelled_table(self) -> TokenTable:
        """The same with the special tokens as they are written."""
        return TokenTable(
            [*map(str.encode, SPECIAL), *self.pieces[len(SPECIAL) :]], self.end_tokens
        )

    @cached_property
    def word_starts(self) -> WordStarts:
        """Which tokens begin a word."""
        return WordStarts(self.pieces)

    @cached_property
    def token_search(self) -> TokenSearch:
        """The texts of all tokens, to be searched."""
        return TokenSearch(self.pieces)


class ScriptedModel:
    """What is asked of a loaded model, about none."""

    path = Path("scripted.gguf")
    identity = description = "scripted"
    header = GGUFHeader(3, 0, {"general.architecture": "scripted"}, 32, 0, {})
    n_ctx_train, n_embd, n_layers, size_bytes = N_CTX_TRAIN, 0, 0, 0
    n_params, file_type = 0, "F32"
    chat_template = TEMPLATE
    can_drop_tokens = True

    def __init__(self) -> None:
        self.vocabulary = ScriptedVocabulary()
        self._closed = False

    @property
    def pointer(self) -> Any:
        """There is none, closed or not."""
        if self._closed:
            raise EngineClosedError("the model is closed; load it again")
        raise AssertionError("this test needs a real model")

    def close(self) -> None:
        """Its vocabulary tokenises no more."""
        self._closed = True
        self.vocabulary.close()


def chained(vocabulary: ScriptedVocabulary) -> Rule:
    """Logits that depend most on the last two tokens, and a little on every one before.

    So another prompt gives a similar distribution, and before long another answer.
    Only words have a chance, and sometimes the end, so that answers are text.
    """
    words = np.array([token >= len(SPECIAL) + 256 for token in range(vocabulary.n_tokens)])

    def rule(tokens: Sequence[int]) -> np.ndarray:
        state = zlib.crc32(np.asarray(tokens, dtype=np.int32).tobytes())
        drawn = np.random.default_rng(state).normal(size=vocabulary.n_tokens)
        drawn += 2 * np.random.default_rng([*tokens[-2:]]).normal(size=vocabulary.n_tokens)
        logits = np.where(words, drawn, UNLIKELY + drawn).astype(np.float32)
        logits[END] = END_LOGIT
        return logits

    return rule


def says(vocabulary: ScriptedVocabulary, text: str, then: int = END) -> Rule:
    """Logits whose greedy answer to any prompt that ends with a turn of its own is `text`."""
    answer = vocabulary.tokenize(text, add_special=False, parse_special=True)

    def rule(tokens: Sequence[int]) -> np.ndarray:
        start = len(tokens) - list(tokens)[::-1].index(TURN)
        said = (
            len(tokens)
            - start
            - len(vocabulary.tokenize("assistant\n", add_special=False, parse_special=False))
        )
        logits = np.zeros(vocabulary.n_tokens, dtype=np.float32)
        logits[answer[said] if said < len(answer) else then] = 10.0
        return logits

    return rule


class ScriptedRows:
    """Rows as the class RowSet makes them, whose logits are the rule's. Nothing is reused."""

    def __init__(self, settings: Any, stop_flag: Any, plan: Any, rule: Rule) -> None:
        self.plan, self.n_decoded, self.n_kept, self.n_made = plan, 0, 0, 0
        self._n_ctx, self._stop_flag, self._rule = settings.n_ctx, stop_flag, rule
        self._tokens: list[list[int]] = []
        self._logits: list[np.ndarray] = []
        self.n_outputs = settings.n_outputs
        self.prefiller = SimpleNamespace(opening=None, keeps_all=False)

    @property
    def n_rows(self) -> int:
        """Rows in use since the last prefill."""
        return len(self._tokens)

    @property
    def n_tokens(self) -> list[int]:
        """Tokens in each row in use."""
        return [len(tokens) for tokens in self._tokens]

    def change_plan(self, plan: Any) -> None:
        """Another plan gives the same logits."""
        self.plan = plan

    def reserve(self, n_rows: int, *, has_plain: bool = True) -> None:
        """Make sure that there are so many rows."""
        if n_rows < 1:
            raise ContextCreationError("no rows")
        self.n_made = max(self.n_made, n_rows)

    def prefill(self, prompts: Sequence[Sequence[int]], progress: Any = None, **_: Any) -> None:
        """Start over with one prompt a row."""
        for _step in self.prefill_steps(prompts, progress):
            pass

    def prefill_steps(
        self, prompts: Sequence[Sequence[int]], progress: Any = None, **_: Any
    ) -> Iterator[None]:
        """`prefill` with a pause after each row."""
        self.reserve(len(prompts))
        self.check_stop()
        self._tokens, total = [], sum(map(len, prompts))
        for prompt in prompts:
            self._tokens.append([*prompt])
            self.n_decoded += len(prompt)
            if progress is not None:
                progress(sum(self.n_tokens), total)
            yield
            self.check_stop()
        self._compute()

    def step(self, token: int) -> None:
        """Give every row `token`."""
        self.check_stop()
        for tokens in self._tokens:
            assert len(tokens) < self._n_ctx, "a row is longer than its context"
            tokens.append(token)
        self.n_decoded += self.n_rows
        self._compute()

    def follow(self, tokens: Sequence[int]) -> list[list[np.ndarray]]:
        """Several steps; the logits of every row after each."""
        following = []
        for token in tokens:
            self.step(token)
            following.append([row.copy() for row in self._logits])
        return following

    extend = follow
    may_drop = True

    def drop(self, n_tokens: int) -> bool:
        """Take the last tokens back."""
        self._tokens = [tokens[: len(tokens) - n_tokens] for tokens in self._tokens]
        return True

    def leave_first(self) -> None:
        """Go on without the first row."""
        del self._tokens[0], self._logits[0]

    def logits(self, row: int) -> np.ndarray:
        """Logits of a row's next token."""
        return self._logits[row]

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """Nothing that could be used again."""
        return 0

    def scale_adapters(self, scales: Any) -> None:
        """There are no adapters."""

    def discard(self) -> None:
        """Forget the tokens of every row."""
        self._tokens, self._logits = [], []

    def close(self) -> None:
        """Forget the rows."""
        self.discard()
        self.n_made = 0

    def check_stop(self) -> None:
        """Raise StoppedError if the stop flag is set."""
        if self._stop_flag.is_set():
            self.discard()
            raise StoppedError

    def _compute(self) -> None:
        self._logits = [self._rule(tokens) for tokens in self._tokens]


def scripted_engine(
    make_rule: Callable[[ScriptedVocabulary], Rule] = chained, **runtime: Any
) -> Engine:
    """An engine whose rows have the logits of a rule.

    Args:
        make_rule: gives the rule for the vocabulary.
        runtime: of RuntimeParams.
    """
    params = RuntimeParams(**{"n_ctx": 1024, "schedule": "serial", "n_threads": 1, **runtime})
    model: Any = ScriptedModel()
    rule = make_rule(model.vocabulary)

    def new_rows(_model: Any, settings: Any, flag: Any, plan: Any, _workers: Any = None) -> Any:
        return ScriptedRows(settings, flag, plan, rule)

    parts = EngineParts(
        model=model,
        runtime=params,
        settings=context_settings(params, params.n_ctx or N_CTX_TRAIN, 0),
        plan=row_plan(params, 0),
        own_settings=settings_of_model(["scripted"]),
        new_rows=new_rows,
        measure_noise=lambda *_: 0.02,
    )
    return Engine.from_parts(parts)
