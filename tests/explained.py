"""Answers with a trace, made of any text: what a model would have to say to test a page with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from amulet_local.common.results import Alternative, Generation, Timings, TokenTrace, Usage
from amulet_local.llama.vocabulary import Vocabulary


def traced_text(
    vocabulary: Vocabulary, text: str, *, preferences: Sequence[str] = ("concise",)
) -> Generation:
    """An answer of `text`, each token with all others of the text as its alternatives."""
    token_ids = vocabulary.tokenize(text, add_special=False, parse_special=False)
    return traced_tokens(vocabulary, token_ids, preferences=preferences)


def traced_tokens(
    vocabulary: Vocabulary, token_ids: Sequence[int], *, preferences: Sequence[str] = ("concise",)
) -> Generation:
    """The same of tokens; the n-th is n times as likely realigned as it is plain, at most 100."""
    share = 0.5 / len(token_ids)
    top = tuple(
        Alternative(
            token_id=token,
            text=vocabulary.piece(token).decode("utf-8", "replace"),
            log_probability=math.log(share),
        )
        for token in dict.fromkeys(token_ids)
    )
    trace = tuple(
        TokenTrace(
            token_id=token,
            text=vocabulary.piece(token).decode("utf-8", "replace"),
            plain=math.log(0.01 / min(n, 100)),
            preferences=(math.log(0.02),) * len(preferences),
            realigned=math.log(0.01),
            scale=3.0,
            kl=n / 10,
            top_plain=top,
            top_preferences=(top,) * len(preferences),
            top_realigned=top,
        )
        for n, token in enumerate(token_ids, start=1)
    )
    return Generation(
        text=b"".join(map(vocabulary.piece, token_ids)).decode("utf-8", "ignore"),
        token_ids=tuple(token_ids),
        finish_reason="length",
        usage=Usage(prompt_tokens=1, completion_tokens=len(token_ids), computed_tokens=1),
        timings=Timings(
            prompt_seconds=0.1,
            time_to_first_token_seconds=0.1,
            decode_seconds=0.1,
            tokens_per_second=10.0,
        ),
        method="amulet",
        preset="balanced",
        guidance_scale=3.0,
        preferences=tuple(preferences),
        seed=None,
        warnings=(),
        trace=trace,
    )
