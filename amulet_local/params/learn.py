"""How weights are learned from texts. Knows nothing about how they are fitted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from amulet_local.params.base import NonNegative, StrictParams
from amulet_local.params.option import Option

FIT = "The fit"
"""A heading of the help."""


class LearnParams(StrictParams):
    """How weights are learned from texts.

    Attributes:
        ridge: r, >= 0; a normal prior of each weight with mean 0 and standard deviation
            1/sqrt(r), so that little text gives small weights. 0 is none.
        holdout: share of the texts, 0 to 0.9, that the weights aren't fitted to and are judged by.
        top_tokens: tokens of each position that are kept as they are: those that matter most.
        tail_tokens: tokens that stand for the rest of the vocabulary.
        fast: several tokens of a text are computed at once. On quantised weights they round
            otherwise than in generation: for texts that this model wrote, weights come out smaller.
    """

    ridge: Annotated[
        NonNegative,
        Field(le=1e6),
        Option(
            "--ridge",
            FIT,
            "Prior: weights are expected within 0 +- 1/sqrt(X). 0 is off. Default: 1.",
            metavar="X",
        ),
    ] = 1.0
    holdout: Annotated[
        NonNegative,
        Field(le=0.9),
        Option(
            "--holdout",
            FIT,
            "Share of the texts that isn't fitted but judges the fit. Default: 0.",
            metavar="SHARE",
        ),
    ] = 0.0
    top_tokens: Annotated[
        int,
        Field(ge=1, le=2**16),
        Option(
            "--top-tokens",
            FIT,
            "Tokens of each position that are kept; the rest is lumped. Default: 256.",
        ),
    ] = 256
    tail_tokens: Annotated[int, Field(ge=1, le=2**16)] = 128
    fast: Annotated[
        bool,
        Option(
            "--fast",
            FIT,
            "Several tokens at once. For texts that this model wrote itself, quantised "
            "weights make the result too small then.",
            kind="flag",
        ),
    ] = False
