"""What the server counts, and Prometheus's text of it.

Knows nothing about requests but what it is told. Written by hand: the format is a line a number.
"""

from __future__ import annotations

from collections import Counter

from amulet_local.common.results import Generation

_HELP = {
    "requests_total": "Completions that were answered, by how they ended.",
    "rejected_total": "Completions that were refused because the queue was full.",
    "prompt_tokens_total": "Tokens of prompts, the longest of each request.",
    "predicted_tokens_total": "Tokens generated.",
    "computed_tokens_total": "Tokens that went through the model, all rows together.",
    "prompt_seconds_total": "Time in which prompts were computed.",
    "predicted_seconds_total": "Time in which tokens were computed.",
    "requests_processing": "Completions that have a place.",
    "requests_waiting": "Completions that wait for a place.",
    "places": "Completions at once.",
}


class Figures:
    """Counters since the start. Used by one thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()

    def rejected(self) -> None:
        """A completion was refused because the queue was full."""
        self._counts["rejected_total"] += 1

    def failed(self) -> None:
        """A completion ended with an error."""
        self._ends["error"] += 1

    def left(self) -> None:
        """The client left before the end."""
        self._ends["cancelled"] += 1

    def ended(self, generation: Generation) -> None:
        """An answer is complete."""
        usage, timings = generation.usage, generation.timings
        self._ends[generation.finish_reason] += 1
        self._counts["prompt_tokens_total"] += usage.prompt_tokens
        self._counts["predicted_tokens_total"] += usage.completion_tokens
        self._counts["computed_tokens_total"] += usage.computed_tokens
        self._counts["prompt_seconds_total"] += timings.prompt_seconds  # type: ignore[assignment]
        self._counts["predicted_seconds_total"] += timings.decode_seconds  # type: ignore[assignment]

    def text(self, *, processing: int, waiting: int, places: int) -> str:
        """All of it, in Prometheus's text format 0.0.4."""
        now = {"requests_processing": processing, "requests_waiting": waiting, "places": places}
        lines = []
        for name, help_text in _HELP.items():
            kind = "gauge" if name in now else "counter"
            lines.append(f"# HELP amulet_{name} {help_text}")
            lines.append(f"# TYPE amulet_{name} {kind}")
            if name == "requests_total":
                for end in ("stop", "length", "cancelled", "error"):
                    lines.append(f'amulet_{name}{{end="{end}"}} {self._ends[end]}')
            else:
                lines.append(f"amulet_{name} {now.get(name, self._counts[name]):.12g}")
        return "\n".join(lines) + "\n"
