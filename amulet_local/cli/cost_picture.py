"""What llama_decodes cost on this machine, as a picture for a terminal, and what follows from it.

Knows nothing about how costs are measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.loading.costs import (
    ENOUGH,
    STEADY_SPREAD,
    WORTHWHILE,
    Costs,
    candidates_for,
)

_WIDTH = 40
"""Characters of the longest bar."""
_PLACES = (2, 4, 8, 16)


def picture(name: str, costs: Costs, plan: ExecutionPlan) -> list[str]:
    """Lines: a bar for each width of a decode, and what was chosen.

    Args:
        name: of the model's file.
        plan: threads.
    """
    single = sorted((n, cost) for (contexts, n), cost in costs.known.items() if contexts == 1)
    if not single:
        return []
    spread = max(cost.spread for _, cost in single)
    rates = {n: 1e3 * n / cost.milliseconds for n, cost in single}
    best = max(rates.values())
    lines = [
        f"One llama_decode of {name}, by the tokens in it (spread {spread:.0%}"
        f"{', measured on a busy machine' if spread > STEADY_SPREAD else ''}):",
        "",
        "  tokens       ms  tokens/s",
    ]
    lines += [
        f"  {n:>6} {cost.milliseconds:>8.1f} {rates[n]:>9.1f}  {_bar(rates[n] / best)}"
        for n, cost in single
    ]
    return [*lines, "", *_choices(costs, plan)]


def _bar(share: float) -> str:
    return "#" * max(1, round(_WIDTH * share))


def _choices(costs: Costs, plan: ExecutionPlan) -> Sequence[str]:
    lines = []
    for n_rows in (2, 3):
        choice = costs.schedule(n_rows, candidates_for(n_rows, plan))
        if len(choice.milliseconds) < 2:
            continue
        steps = sorted(choice.milliseconds.items(), key=lambda item: item[1])
        figures = ", ".join(f"{schedule} {ms:.1f} ms" for schedule, ms in steps)
        count = "one preference" if n_rows == 2 else "two preferences"
        lines.append(f"  {count}: schedule {choice.schedule}, of {figures} a token")
    together = [n for n in _PLACES if costs.pays_together(n)]
    gains = ", ".join(f"{n} at once {costs.gain_together(n):.2f}" for n in _PLACES)
    lines.append(
        f"  requests at once: {'together' if together else 'in turn'}; tokens a second, times one "
        f"alone: {gains} ({WORTHWHILE:g} is worthwhile)"
    )
    lines.append(
        f"  batch: {costs.batch_width()} rows, the fewest that make {ENOUGH:.0%} of the best"
    )
    schedule = costs.schedule(2, candidates_for(2, plan)).schedule
    guesses = costs.guesses(schedule, 2)
    if guesses is not None:
        prices = ", ".join(
            f"{n} cost {guesses[n] / guesses[1]:.1f} steps" for n in sorted(guesses) if n > 1
        )
        lines.append(f"  guesses (--draft auto), {schedule}: tokens of a row at once: {prices}")
    return lines
