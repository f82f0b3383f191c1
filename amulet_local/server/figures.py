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

_NO_DRAFTS = "There is no speculative decoding."


class Figures:
    """Counters since the start. Used by one thread."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._longest = 0

    def rejected(self) -> None:
        """A completion was refused because the queue was full."""
        self._counts["rejected_total"] += 1

    def failed(self) -> None:
        """A completion ended with an error."""
        self._ends["error"] += 1

    def left(self) -> None:
        """The client left before the end."""
        self._ends["cancelled"] += 1

    def embedded(self, n_tokens: int) -> None:
        """Texts were embedded."""
        self._counts["prompt_tokens_total"] += n_tokens
        self._counts["computed_tokens_total"] += n_tokens
        self._counts["steps_total"] += 1

    def ended(self, generation: Generation) -> None:
        """An answer is complete."""
        usage, timings = generation.usage, generation.timings
        self._ends[generation.finish_reason] += 1
        self._counts["cached_tokens_total"] += usage.cached_tokens
        self._counts["steps_total"] += 1 + max(0, usage.completion_tokens - 1)
        self._longest = max(self._longest, usage.total_tokens)
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
        return "\n".join([*lines, *self._as_llama_server(processing, waiting)]) + "\n"

    def _as_llama_server(self, processing: int, waiting: int) -> list[str]:
        """The same under llama-server's names; speeds are those since it was asked last."""
        counts = self._counts
        new = counts - self._told
        self._told = Counter(counts)
        values: dict[str, tuple[str, float]] = {
            "prompt_tokens_total": (
                "Prompt tokens computed.",
                counts["prompt_tokens_total"] - counts["cached_tokens_total"],
            ),
            "prompt_tokens_cached_total": (
                "Prompt tokens that were in memory.",
                counts["cached_tokens_total"],
            ),
            "prompt_seconds_total": (_HELP["prompt_seconds_total"], counts["prompt_seconds_total"]),
            "tokens_predicted_total": ("Tokens generated.", counts["predicted_tokens_total"]),
            "tokens_predicted_seconds_total": (
                _HELP["predicted_seconds_total"],
                counts["predicted_seconds_total"],
            ),
            "n_decode_total": (
                "Steps: one for each prompt and further token.",
                counts["steps_total"],
            ),
            "n_tokens_max": ("Longest prompt with its answer.", self._longest),
            "spec_decode_num_draft_tokens_total": (_NO_DRAFTS, 0),
            "spec_decode_num_accepted_tokens_total": (_NO_DRAFTS, 0),
            "spec_decode_num_drafts_total": (_NO_DRAFTS, 0),
            "prompt_tokens_seconds": (
                "Prompt tokens computed per second.",
                _rate(new, "prompt_tokens_total", "prompt_seconds_total"),
            ),
            "predicted_tokens_seconds": (
                "Tokens generated per second.",
                _rate(new, "predicted_tokens_total", "predicted_seconds_total"),
            ),
            "requests_processing": (_HELP["requests_processing"], processing),
            "requests_deferred": (_HELP["requests_waiting"], waiting),
            "n_busy_slots_per_decode": (_HELP["requests_processing"], processing),
        }
        lines = []
        for name, (help_text, value) in values.items():
            kind = "counter" if name.endswith("_total") or name == "n_tokens_max" else "gauge"
            lines += [
                f"# HELP llamacpp:{name} {help_text}",
                f"# TYPE llamacpp:{name} {kind}",
                f"llamacpp:{name} {value:.12g}",
            ]
        return lines


def _rate(new: Counter[str], tokens: str, seconds: str) -> float:
    return new[tokens] / new[seconds] if new[seconds] else 0.0
