"""Log-probabilities of a given answer under each row and under their combination.

Knows nothing about chat templates; takes prompts and an answer as token ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.answer import recital_of
from amulet_local.llama.rows import RowSet
from amulet_local.llama.vocabulary import TextStream, Vocabulary
from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.request import Request
from amulet_local.results import Score, TokenTrace
from amulet_local.steering import Steering
from amulet_local.tracing import Tracer


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
        end_tokens=vocabulary.end_tokens,
        recital=recital_of(request, vocabulary),
    )
    steering.noise = noise
    stream = TextStream(vocabulary)
    tracer = Tracer(realigner, vocabulary, n_top=0)
    trace: list[TokenTrace] = []

    def record(token: int, logits: Sequence[Logits]) -> None:
        trace.append(tracer.trace(logits, plan, steering.combine(logits), token))
        steering.accept(token, stream.push(token))

    rows.prefill(request.prompts)
    record(answer[0], [rows.logits(row) for row in range(plan.n_rows)])
    done = 1
    while done < len(answer):
        given = answer[done - 1 : min(len(answer) - 1, done - 1 + rows.n_outputs)]
        positions = rows.extend(given)
        for offset, logits in enumerate(positions):
            record(answer[done + offset], logits)
        done += len(given)
    return Score(
        token_ids=tuple(answer),
        plain=tuple(item.plain for item in trace if item.plain is not None),
        preferences=tuple(zip(*(item.preferences for item in trace), strict=True)),
        realigned=tuple(item.realigned for item in trace),
        guidance_scale=request.amulet.guidance_scale,
    )
