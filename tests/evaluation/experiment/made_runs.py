"""Run folders made by hand, with figures that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from amulet_local.evaluation.experiment.answering import MEASURES, RESPONSES
from amulet_local.evaluation.experiment.contestants import contestants
from amulet_local.evaluation.experiment.run_folder import SETTINGS

Figures = Callable[[str, str, str, int], dict[str, Any]]
"""From method, preference, set and number of the question to fields of the answer's line."""


def made_run(
    folder: Path,
    figures: Figures,
    *,
    methods: str = "base,pref,amulet:paper,amulet:balanced",
    wishes: Sequence[str] = ("creative", "concise"),
    sets: Sequence[str] = ("first", "second"),
    n_questions: int = 10,
    model: str = "made.gguf",
) -> Path:
    """Write one; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = contestants(methods)
    settings = {
        "format": 1,
        "model": {"file": model, "sha256": "0" * 64},
        "methods": [
            {
                "name": item.name,
                "method": item.method.name,
                "guidance_scale": item.amulet.guidance_scale,
                "settings": item.amulet.model_dump(exclude_defaults=True, by_alias=True),
                "beams": item.method.n_beams,
                "only": None if item.only is None else list(item.only),
            }
            for item in chosen
        ],
        "preferences": [
            {"label": wish, "instructions": [f"Be {wish}."], "texts": [wish]} for wish in wishes
        ],
        "datasets": [
            {"name": name, "sha256": "0", "indices": [str(n) for n in range(n_questions)]}
            for name in sets
        ],
        "choice": {},
        "decoding": {"max_tokens": 48, "temperature": 0, "system": "Help.", "placement": "system"},
        "runtime": {},
        "versions": {"amulet-local": "0", "llama.cpp": "0"},
    }
    (folder / SETTINGS).write_text(json.dumps(settings))
    responses, measures = [], []
    for name in sets:
        for n in range(n_questions):
            for item in chosen:
                led = item.method.needs_preference
                for wish in wishes:
                    if item.only is not None and wish not in item.only:
                        continue
                    key = {"dataset": name, "index": str(n), "wish": wish, "method": item.name}
                    line = {
                        "question": f"Question {n} of {name}?",
                        "preferences": [wish],
                        "text": f"Answer {n}.",
                        "token_ids": list(range(20)),
                        "finish_reason": "stop",
                        "guidance_scale": item.amulet.guidance_scale,
                        "seconds": 1.0,
                        "falls_apart": False,
                        "recites": False,
                        **figures(item.name, wish, name, n),
                    }
                    if led:
                        responses.append({**key, **line})
                    else:
                        measures.append(
                            {**key, **{k: line[k] for k in ("margin", "fluency", "falls_apart")}}
                        )
                if not led:
                    unled = {**key, "wish": "", **line}
                    for field in ("margin", "fluency", "falls_apart", "recites"):
                        unled.pop(field, None)
                    responses.append(unled)
    for path, lines in ((folder / RESPONSES, responses), (folder / MEASURES, measures)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
