"""Owns the sequences of one context: which tokens each has in memory, and how that changes.

Knows nothing about rows, answers or beams, and about threads. What memory holds and what is noted
of it change here alone, together; a computation that fails or is stopped leaves all of it empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amulet_local.common.errors import DecodeError
from amulet_local.llama.context import Context, Logits, Span
from amulet_local.llama.stop_flag import StoppedError


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens to be computed after what a sequence has.

    Attributes:
        sequence: its number.
        tokens: token ids, at least one.
        n_outputs: how many of the last tokens need logits.
    """

    sequence: int
    tokens: Sequence[int]
    n_outputs: int = 1


class Sequences:
    """Sequences 0 to n_sequences - 1 of a context, empty at first.

    Attributes:
        context: where they are. Nobody else changes its memory.
    """

    def __init__(self, context: Context, *, can_drop: bool) -> None:
        """Take over a new context.

        Args:
            can_drop: whether the model can forget a sequence's last tokens alone.
        """
        self.context = context
        self._can_drop = can_drop
        self._held: list[list[int]] = [[] for _ in range(context.settings.n_sequences)]

    def held(self, sequence: int) -> Sequence[int]:
        """The tokens that a sequence has in memory."""
        return self._held[sequence]

    def keep_prefix(self, sequence: int, n_tokens: int) -> int:
        """Forget what comes after the first `n_tokens`, or everything where the model can't.

        Returns:
            How many tokens are left.
        """
        held = self._held[sequence]
        possible = self._can_drop or len(held) == n_tokens
        if not possible or not self.context.drop_from(sequence, n_tokens):
            self.forget(sequence)
        del held[n_tokens:]
        return len(held)

    def forget(self, sequence: int) -> None:
        """Empty a sequence."""
        self.context.drop_from(sequence, -1)
        self._held[sequence].clear()

    def forget_all(self) -> None:
        """Empty every sequence."""
        self.context.clear()
        for held in self._held:
            held.clear()

    def copy(self, source: int, target: int) -> None:
        """Replace what is in `target` with all of `source`."""
        self.context.copy_sequence(source, target)
        self._held[target][:] = self._held[source]

    def export(self, sequence: int) -> bytes:
        """The serialised state of a sequence; empty where llama.cpp can't."""
        return self.context.export_sequence(sequence)

    def restore(self, sequence: int, tokens: Sequence[int], state: bytes) -> bool:
        """Replace a sequence by a state of these tokens, from a context of the same settings.

        Returns False, with nothing in the sequence, where llama.cpp refuses it.
        """
        restored = self.context.import_sequence(sequence, state)
        self._held[sequence][:] = tokens if restored else ()
        return restored

    def pack(self, pending: Iterable[tuple[int, Sequence[int]]]) -> list[Part]:
        """As much as one decode takes, the first ones first; each one's last token has logits.

        Args:
            pending: sequences and what is to be computed of each.
        """
        room = self.context.n_batch
        parts = []
        for sequence, tokens in pending:
            if n := min(room, len(tokens)):
                room -= n
                parts.append(Part(sequence, tokens[:n], int(n == len(tokens))))
        return parts

    def decode(self, parts: Sequence[Part]) -> list[int]:
        """Compute some parts at once, of one sequence each.

        llama.cpp computes together what follows each other by sequence, without a gap.

        Returns:
            For each part the index of its last token, for `logits`.

        Raises:
            StoppedError: the stop flag ended it. Every sequence is empty.
            DecodeError: llama_decode failed. The same.
        """
        order = sorted(range(len(parts)), key=lambda place: parts[place].sequence)
        spans = [
            Span(part.sequence, len(self._held[part.sequence]), part.tokens, part.n_outputs)
            for part in (parts[place] for place in order)
        ]
        try:
            self.context.decode(spans)
        except (DecodeError, StoppedError):
            self.forget_all()
            raise
        outputs, end = [0] * len(parts), 0
        for place in order:
            part = parts[place]
            self._held[part.sequence].extend(part.tokens)
            end += len(part.tokens)
            outputs[place] = end - 1
        return outputs

    def logits(self, output: int) -> Logits:
        """Logits after a token of the last `decode`: a view, overwritten by the next."""
        return self.context.logits(output)

    def close(self) -> None:
        """Free the context."""
        self.context.close()
