"""One row: its tokens in memory, what of them a prompt can keep, and what is still to compute.

Knows nothing about other rows and about threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amulet_local.llama.context import Context, Logits, Span


@dataclass(kw_only=True)
class Row:
    """A sequence of a context.

    Attributes:
        context, sequence: where it is.
        bare: whether it lacks the adapters that other rows have.
        can_drop: whether the model can forget the last tokens alone.
        tokens: what is in memory.
        ends: where each computation of these tokens ended.
        output: index of its logits in the last decode of its context.
        saved: its logits, where a later decode of the context overwrote them.
        prompt, prompt_logits: the last prompt and the logits after it: asked again, it gives the
            same to the bit.
    """

    context: Context
    sequence: int
    bare: bool
    can_drop: bool
    tokens: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    output: int = -1
    saved: Logits | None = None
    prompt: tuple[int, ...] = ()
    prompt_logits: Logits | None = None

    def logits(self) -> Logits:
        """Of its next token, float32, shape (n_vocab,): a view until the next decode."""
        return self.context.logits(self.output) if self.saved is None else self.saved

    def computed(self, span: Span, output: int) -> None:
        """Take note of what was computed.

        Args:
            output: index of the logits of its last token.
        """
        self.tokens.extend(span.tokens)
        self.ends.append(len(self.tokens))
        self.output = output
        self.saved = None

    def keep(self, n_tokens: int) -> None:
        """Forget what comes after the first `n_tokens`, or everything where the model can't."""
        possible = self.can_drop or len(self.tokens) == n_tokens
        if not possible or not self.context.drop_from(self.sequence, n_tokens):
            self.context.drop_from(self.sequence, -1)
            n_tokens = 0
        del self.tokens[n_tokens:]
        self.ends[:] = [end for end in self.ends if end <= n_tokens]

    def keep_what_fits(self, prompt: Sequence[int], shared: int, *, exactly: bool) -> None:
        """Keep the prefix of a prompt that is in memory, or the whole prompt with its logits.

        Args:
            shared: how much of the prompt is computed once for several rows.
            exactly: only what was computed in the chunks of a new start.
        """
        self.saved = None
        common = common_length(self.tokens, prompt)
        same = self.prompt_logits is not None and self.prompt == tuple(prompt)
        if same and common == len(prompt):
            self.keep(common)
            if len(self.tokens) == common:
                self.saved = self.prompt_logits
                return
        kept = min(common, len(prompt) - 1, len(self.tokens))
        if exactly:
            kept = computed_alike(self.ends, kept, shared, self.context.n_batch)
        self.keep(kept)

    def remember(self, prompt: Sequence[int]) -> None:
        """Its tokens are this prompt's: keep the logits after it."""
        if self.saved is None or self.prompt_logits is not self.saved:
            self.prompt, self.prompt_logits = tuple(prompt), self.logits().copy()

    def take(self, tokens: Sequence[int], ends: Sequence[int] = ()) -> None:
        """Its memory holds these tokens now, copied from elsewhere."""
        self.tokens[:] = tokens
        self.ends[:] = ends

    def forget(self) -> None:
        """Nothing is in memory any more."""
        self.take(())
        self.prompt_logits = self.saved = None


class Tail:
    """What is still to be computed of a row's prompt, chunk by chunk."""

    def __init__(self, row: Row, prompt: Sequence[int], *, n_outputs: int = 1) -> None:
        """The chunks after what the row has.

        Args:
            n_outputs: logits that the last chunk gives.
        """
        self.row = row
        self._prompt = prompt
        self._n_outputs = n_outputs
        self._next = len(row.tokens)

    @property
    def unfinished(self) -> bool:
        """Whether a chunk is left."""
        return self._next < len(self._prompt)

    def next(self, room: int | None = None) -> Span:
        """The next chunk, of at most `room` tokens."""
        start = self._next
        most = self.row.context.n_batch
        stop = min(len(self._prompt), start + min(most, room or most))
        self._next = stop
        last = stop == len(self._prompt)
        return Span(
            self.row.sequence, start, self._prompt[start:stop], self._n_outputs if last else 0
        )


class Course:
    """A row on its way through given tokens, one decode each.

    Attributes:
        row: it. What was computed isn't noted there.
        spans: the tokens.
        logits: copies, of the tokens so far.
    """

    def __init__(self, row: Row, tokens: Sequence[int]) -> None:
        """At the first of the tokens."""
        self.row = row
        self.spans = [
            Span(row.sequence, len(row.tokens) + index, (token,), 1)
            for index, token in enumerate(tokens)
        ]
        self.logits: list[Logits] = []

    @property
    def unfinished(self) -> bool:
        """Whether a token is left."""
        return len(self.logits) < len(self.spans)

    def advance(self) -> None:
        """Compute the next token."""
        self.row.context.decode([self.spans[len(self.logits)]])
        self.logits.append(self.row.context.logits(0).copy())


def computed_alike(ends: Sequence[int], kept: int, shared: int, n_batch: int) -> int:
    """How many of a row's first `kept` tokens were computed in the chunks of a new start.

    Args:
        ends: where each computation of the row's tokens ended.
        shared: length of the shared prefix; chunks of `n_batch` tokens end there, and begin anew.
    """
    alike, start = 0, 0
    for end in ends:
        stop = start + n_batch
        if start < shared < stop:
            stop = shared
        if end != stop or end > kept:
            break
        alike = start = stop
    return alike


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many values two sequences begin with in common."""
    n = 0
    for a, b in zip(left, right):  # noqa: B905 (the shorter one ends it)
        if a != b:
            break
        n += 1
    return n
