"""Log-probabilities of a given answer under each row and under their combination.

Knows nothing about chat templates; takes prompts and an answer as token ids. The answer is computed
token by token, as a generation computes it: several at once would be faster, and their rounding
another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.answering.answer_reader import AnswerReader
from amulet_local.answering.request import Request, token_ids
from amulet_local.answering.tracing import Tracer
from amulet_local.common.errors import EmptyPromptError
from amulet_local.common.results import Score, TokenTrace
from amulet_local.llama.rows import RowSet
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.optimizer.realigner import Realigner
from amulet_local.steering.steering import Steering


def score_answer(shared: SharedRows, request: Request, answer: Sequence[int]) -> Score:
    """`score` on an engine's own rows, when it is this one's turn.

    Args and Raises: as `score`, and
        CancelledError: the stop flag was set.
        EngineClosedError, EngineBusyError: see there.
    """
    with shared.cancellable("the scoring"):
        shared.settle_schedule(request.plan.n_rows)
        noise = shared.noise(request.amulet)
        vocabulary = shared.parts.model.vocabulary
        return score(request, answer, shared.rows, shared.realigner, vocabulary, noise=noise)


def answer_ids(shared: SharedRows, answer: str | Sequence[int]) -> tuple[int, ...]:
    """The token ids of an answer to score, checked.

    Raises:
        EmptyPromptError: it has none.
        InvalidTokenError, InvalidTextError: see there.
        EngineClosedError: see there.
    """
    vocabulary = shared.parts.model.vocabulary
    if isinstance(answer, str):
        with shared.lock.using():
            answer = vocabulary.tokenize(answer, add_special=False, parse_special=False)
        if not answer:
            raise EmptyPromptError("there is no answer to score")
    return token_ids(answer, vocabulary)


def score(
    request: Request,
    answer: Sequence[int],
    rows: RowSet,
    realigner: Realigner,
    vocabulary: Vocabulary,
    *,
    noise: float = 0.0,
) -> Score:
    """Teacher-forced log-probabilities of `answer` after the request's prompts.

    Args:
        noise: standard deviation of the model's rounding noise in l1 - l0, for the noise guard.

    Raises:
        BackendError: llama.cpp failed. The rows are empty and usable.
    """
    plan = request.plan
    steering = Steering(
        plan,
        request.amulet,
        realigner,
        prompts=request.prompts,
        end_tokens=vocabulary.end_tokens,
        vocabulary=vocabulary,
    )
    steering.noise = noise
    reader = AnswerReader(vocabulary, closing_tag=request.closing_tag)
    tracer = Tracer(realigner, vocabulary, n_alternatives=0)
    trace: list[TokenTrace] = []

    for n_done, token in enumerate(answer):
        if n_done == 0:
            rows.prefill(request.prompts, has_plain=plan.has_plain)
        else:
            rows.step(answer[n_done - 1])
        logits = [rows.logits(row) for row in range(plan.n_rows)]
        steering.in_reasoning = reader.in_reasoning
        trace.append(tracer.trace(logits, plan, steering.combine(logits), token))
        reader.push(token)
        steering.accept(token, reader.written)
    return Score(
        token_ids=tuple(answer),
        plain=tuple(item.plain for item in trace if item.plain is not None),
        preferences=tuple(zip(*(item.preferences for item in trace), strict=True)),
        realigned=tuple(item.realigned for item in trace),
        guidance_scale=request.amulet.guidance_scale,
    )
