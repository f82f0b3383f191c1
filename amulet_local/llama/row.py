"""One row: its tokens in memory, what of them a prompt can keep, and what is still to compute.

Knows nothing about other rows and about threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amulet_local.llama.context import Context, Logits
from amulet_local.llama.sequences import Part, Sequences


@dataclass(kw_only=True)
class Row:
    """A sequence of a context.

    Attributes:
        sequences, sequence: where it is.
        bare: whether it lacks the adapters that other rows have.
        ends: where each computation of these tokens ended.
        output: index of its logits in the last decode of its context.
        saved: its logits, where a later decode of the context overwrote them.
        prompt, prompt_logits: the last prompt and the logits after it: asked again, it gives the
            same to the bit.
    """

    sequences: Sequences
    sequence: int
    bare: bool
    ends: list[int] = field(default_factory=list)
    output: int = -1
    saved: Logits | None = None
    prompt: tuple[int, ...] = ()
    prompt_logits: Logits | None = None

    @property
    def tokens(self) -> Sequence[int]:
        """What is in memory."""
        return self.sequences.held(self.sequence)

    @property
    def context(self) -> Context:
        """Where its sequence is."""
        return self.sequences.context

    def logits(self) -> Logits:
        """Of its next token, float32, shape (n_vocab,): a view until the next decode."""
        return self.context.logits(self.output) if self.saved is None else self.saved

    def decode(self, part: Part) -> None:
        """Compute a part of it alone.

        Raises:
            StoppedError, DecodeError: as Sequences.decode does.
        """
        (output,) = self.sequences.decode([part])
        self.computed(output)

    def computed(self, output: int) -> None:
        """Take note of where a computation ended.

        Args:
            output: index of the logits of its last token.
        """
        self.ends.append(len(self.tokens))
        self.output = output
        self.saved = None

    def keep(self, n_tokens: int) -> None:
        """Forget what comes after the first `n_tokens`, or everything where the model can't."""
        n_kept = self.sequences.keep_prefix(self.sequence, n_tokens)
        self.ends[:] = [end for end in self.ends if end <= n_kept]

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

    def copy(self, source: Row, state: bytes) -> None:
        """Replace what it has with all of another row's; with nothing where llama.cpp refuses it.

        Args:
            state: the other row's, for one of another context.
        """
        self.ends[:] = source.ends
        if self.sequences is source.sequences:
            self.sequences.copy(source.sequence, self.sequence)
        elif not self.sequences.restore(self.sequence, source.tokens, state):
            self.ends.clear()

    def restore(self, tokens: Sequence[int], state: bytes) -> bool:
        """Replace what it has with an exported state. False, with nothing, if refused."""
        self.ends.clear()
        return self.sequences.restore(self.sequence, tokens, state)

    def forget(self) -> None:
        """Nothing of its sequence is in memory any more."""
        self.ends.clear()
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

    @property
    def pending(self) -> Sequence[int]:
        """What is left."""
        return self._prompt[len(self.row.tokens) :]

    @property
    def unfinished(self) -> bool:
        """Whether a chunk is left."""
        return len(self.row.tokens) < len(self._prompt)

    def next(self) -> Part:
        """The next chunk."""
        pending = self.pending
        n = min(self.row.context.n_batch, len(pending))
        return Part(self.row.sequence, pending[:n], self._n_outputs if n == len(pending) else 0)


class Course:
    """A row on its way through given tokens, one decode each.

    Attributes:
        logits: copies, after each of the tokens so far.
    """

    def __init__(self, row: Row, tokens: Sequence[int]) -> None:
        """At the first of the tokens."""
        self._row = row
        self._tokens = tokens
        self.logits: list[Logits] = []

    @property
    def unfinished(self) -> bool:
        """Whether a token is left."""
        return len(self.logits) < len(self._tokens)

    def advance(self) -> None:
        """Compute the next token."""
        self._row.decode(Part(self._row.sequence, [self._tokens[len(self.logits)]]))
        self.logits.append(self._row.logits().copy())


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


def common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """How many values two sequences begin with in common."""
    n = 0
    for a, b in zip(left, right):  # noqa: B905 (the shorter one ends it)
        if a != b:
            break
        n += 1
    return n
