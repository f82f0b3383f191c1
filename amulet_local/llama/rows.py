"""The rows of one generation, stepped in lockstep: the plain prompt's and each preference's.

Knows nothing about what the rows mean or how they are combined. Every row is a sequence of tokens
in a context of its own, all on one loaded model. After a prefill every row has logits for its next
token; a step gives all rows the same token. When one row fails or is stopped, all rows forget
everything: rows never drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from amulet_local.errors import DecodeError
from amulet_local.llama.context import DECODE_STOPPED, Context, ContextSettings, Logits
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Worker, run_together

Progress = Callable[[int, int], None]


class StoppedError(Exception):
    """The stop flag ended a computation. Never leaves the engine."""


class RowSet:
    """Contexts for up to as many rows as were asked for, made when first needed.

    Attributes:
        schedule: "serial" computes one row after the other, each with all threads.
        n_rows: rows in use since the last prefill.
        n_decoded: tokens computed since the creation, all rows together.
    """

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        stop_flag: StopFlag,
        *,
        schedule: Literal["serial"] = "serial",
    ) -> None:
        self.schedule = schedule
        self.n_rows = 0
        self.n_decoded = 0
        self._model = model
        self._settings = settings
        self._stop_flag = stop_flag
        self._contexts: list[Context] = []
        self._tokens: list[list[int]] = []
        self._worker = Worker("amulet-rows")

    @property
    def n_tokens(self) -> list[int]:
        """Tokens in each row."""
        return [len(tokens) for tokens in self._tokens[: self.n_rows]]

    def reserve(self, n_rows: int) -> None:
        """Create contexts up to `n_rows`.

        Raises:
            ContextCreationError: llama.cpp can't.
        """
        while len(self._contexts) < n_rows:
            self._contexts.append(Context(self._model, self._settings, self._stop_flag))
            self._tokens.append([])

    def prefill(self, prompts: Sequence[Sequence[int]], progress: Progress | None = None) -> None:
        """Start over with one prompt a row; afterwards `logits` has each row's next token.

        Args:
            prompts: token ids, at least one each; as many rows as prompts.
            progress: called with (tokens computed, tokens in all) after each chunk.

        Raises:
            StoppedError: the stop flag was set. All rows are empty.
            DecodeError: llama.cpp failed. All rows are empty.
        """
        self.reserve(len(prompts))
        self.discard()
        self.n_rows = len(prompts)
        total = sum(len(prompt) for prompt in prompts)
        done = 0
        for row, prompt in enumerate(prompts):
            for start in range(0, len(prompt), self._contexts[row].n_batch):
                chunk = prompt[start : start + self._contexts[row].n_batch]
                last = start + len(chunk) == len(prompt)
                self._run([partial(self._decode, row, chunk, int(last))])
                done += len(chunk)
                if progress is not None:
                    progress(done, total)

    def step(self, token: int) -> None:
        """Give every row `token` and compute the logits of what comes next.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        self._run([partial(self._decode, row, (token,), 1) for row in range(self.n_rows)])

    @property
    def n_outputs(self) -> int:
        """Most tokens that `extend` takes."""
        return self._contexts[0].n_outputs

    def extend(self, tokens: Sequence[int]) -> list[list[Logits]]:
        """Give every row several tokens; for each token the logits of every row after it.

        Args:
            tokens: 1 to `n_outputs` token ids.

        Returns:
            Views, valid until the next step.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        n = len(tokens)
        self._run([partial(self._decode, row, tokens, n) for row in range(self.n_rows)])
        return [
            [self._contexts[row].logits(index) for row in range(self.n_rows)] for index in range(n)
        ]

    def logits(self, row: int) -> Logits:
        """Logits of a row's next token, float32, shape (n_vocab,): a view until the next step."""
        return self._contexts[row].logits()

    def discard(self) -> None:
        """Forget the tokens of every row."""
        for context, tokens in zip(self._contexts, self._tokens, strict=True):
            context.clear()
            tokens.clear()

    def close(self) -> None:
        """End the thread and free the contexts."""
        self._worker.close()
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        self._tokens.clear()

    def _decode(self, row: int, tokens: Sequence[int], outputs: int) -> None:
        self._contexts[row].decode(tokens, len(self._tokens[row]), outputs=outputs)
        self._tokens[row].extend(tokens)
        self.n_decoded += len(tokens)

    def _run(self, decodes: Sequence[Callable[[], None]]) -> None:
        def all_rows() -> None:
            for decode in decodes:
                decode()

        try:
            if self._stop_flag.is_set():
                raise StoppedError
            run_together([self._worker], [all_rows], self._stop_flag.set)
        except DecodeError as error:
            self.discard()
            if error.code == DECODE_STOPPED:
                raise StoppedError from None
            raise
        except BaseException:
            self.discard()
            raise
