"""What an experiment asks for, and the settings that its answers depend on.

Knows nothing about how answers are made or stored.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any

from amulet_local.common.errors import FileAccessError
from amulet_local.evaluation.experiment.contestants import Contestant
from amulet_local.evaluation.experiment.datasets import Dataset, Item
from amulet_local.llama import library
from amulet_local.params.choices import Placement
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT, Preference

FORMAT = 1
"""Of the run folder; a newer one reads no older one's settings."""

OWN = "own"
"""The label of an item's own preferences."""


@dataclass(frozen=True, kw_only=True)
class VerbatimPreference(Preference):
    """A preference whose text goes into the prompt as it stands."""

    @property
    def instruction(self) -> str:
        """The text."""
        return self.text.strip()


@dataclass(frozen=True, kw_only=True)
class PreferenceTarget:
    """What answers are to follow: one preference, or an item's own together.

    Attributes:
        label: for tables.
        parts: the preferences; their weights sum to 1.
    """

    label: str
    parts: tuple[Preference, ...]


@dataclass(frozen=True, kw_only=True)
class Response:
    """Which answer: the names of its place in the table.

    Attributes:
        dataset, index: of the question.
        wish: label of the preference; empty where the method follows none.
        method: the contestant's name.
    """

    dataset: str
    index: str
    wish: str
    method: str


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is asked for.

    Attributes:
        contestants: the methods.
        wishes: the preferences, for questions that have none of their own.
        datasets: the questions.
        max_tokens: most tokens of an answer.
        system: system text of all prompts; the package's own if None.
        placement: where preferences go.
    """

    contestants: tuple[Contestant, ...]
    wishes: tuple[PreferenceTarget, ...]
    datasets: tuple[Dataset, ...]
    max_tokens: int
    system: str | None = None
    placement: Placement = "system"

    def items(self) -> Iterator[Item]:
        """The questions, one of each set in turn: what is there early on is balanced."""
        for round_ in zip_longest(*(dataset.items for dataset in self.datasets)):
            yield from (item for item in round_ if item is not None)

    def wishes_of(self, item: Item) -> tuple[PreferenceTarget, ...]:
        """What answers to this question are to follow."""
        if not item.preferences:
            return self.wishes
        share = 1.0 / len(item.preferences)
        parts = tuple(
            VerbatimPreference(text=text, weight=share, name=f"own {n}")
            for n, text in enumerate(item.preferences, 1)
        )
        return (PreferenceTarget(label=OWN, parts=parts),)

    def plays(self, contestant: Contestant, wish: PreferenceTarget) -> bool:
        """Whether this method answers under this preference."""
        if contestant.method.n_beams > 1 and len(wish.parts) > 1:
            return False
        return contestant.only is None or wish.label in contestant.only

    def responses(self) -> Iterator[Response]:
        """Every answer, each once."""
        for item in self.items():
            for contestant in self.contestants:
                if not contestant.method.needs_preference:
                    yield self.response(item, contestant, None)
            for wish in self.wishes_of(item):
                for contestant in self.contestants:
                    if contestant.method.needs_preference and self.plays(contestant, wish):
                        yield self.response(item, contestant, wish)

    @staticmethod
    def response(item: Item, contestant: Contestant, wish: PreferenceTarget | None) -> Response:
        """The place of one answer."""
        return Response(
            dataset=item.dataset,
            index=item.index,
            wish="" if wish is None else wish.label,
            method=contestant.name,
        )


def single_wish(preference: Preference) -> PreferenceTarget:
    """A preference alone, with all of the weight."""
    return PreferenceTarget(label=preference.label, parts=(replace(preference, weight=1.0),))


def settings_of(
    experiment: Experiment, model: Path, runtime: RuntimeParams, *, choice: dict[str, Any]
) -> dict[str, Any]:
    """Everything that the answers depend on, as JSON values; another run has other ones.

    Args:
        choice: how the questions were chosen.

    Raises:
        FileAccessError: the model can't be read.
    """
    return {
        "format": FORMAT,
        "model": {"file": model.name, "sha256": file_digest(model)},
        "methods": [
            {
                "name": item.name,
                "method": item.method.name,
                "guidance_scale": item.amulet.guidance_scale,
                "settings": item.amulet.model_dump(exclude_defaults=True, by_alias=True),
                "beams": item.method.n_beams,
                "only": None if item.only is None else list(item.only),
            }
            for item in experiment.contestants
        ],
        "preferences": [
            {
                "label": wish.label,
                "instructions": [part.instruction for part in wish.parts],
                "texts": [part.text for part in wish.parts],
            }
            for wish in experiment.wishes
        ],
        "datasets": [
            {
                "name": dataset.name,
                "sha256": dataset.sha256,
                "indices": [item.index for item in dataset.items],
            }
            for dataset in experiment.datasets
        ],
        "choice": choice,
        "decoding": {
            "max_tokens": experiment.max_tokens,
            "temperature": 0,
            "system": DEFAULT_SYSTEM_TEXT if experiment.system is None else experiment.system,
            "placement": experiment.placement,
        },
        "runtime": {
            "n_ctx": runtime.n_ctx,
            "n_gpu_layers": runtime.n_gpu_layers,
            "cache_type_k": runtime.cache_type_k,
            "cache_type_v": runtime.cache_type_v,
            "flash_attention": runtime.flash_attention,
            "schedule": runtime.schedule,
            "chat_template": runtime.chat_template,
            **({"template_arguments": given} if (given := runtime.template_arguments) else {}),
            **_adapters(runtime),
        },
        "versions": versions(),
    }


def _adapters(runtime: RuntimeParams) -> dict[str, Any]:
    """The adapters by their content; nothing where there are none."""
    found: dict[str, Any] = {
        name: [
            {"file": Path(path).name, "sha256": file_digest(Path(path)), "scale": scale}
            for path, scale in files
        ]
        for name, files in (("lora", runtime.lora), ("control_vectors", runtime.control_vectors))
        if files
    }
    if found:
        found["adapters_on"] = runtime.adapters_on
    if runtime.control_vector_layers is not None:
        found["control_vector_layers"] = list(runtime.control_vector_layers)
    return found


def versions() -> dict[str, str]:
    """Of what answers depend on."""
    found = {}
    for name in ("amulet-local", "llama-cpp-python", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    found["llama.cpp"] = library.build_version()
    found["python"] = platform.python_version()
    found["machine"] = f"{platform.system()} {platform.machine()}"
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        FileAccessError: it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    except OSError as error:
        raise FileAccessError(f"{path} can't be read: {error.strerror}") from None
    return digest.hexdigest()
