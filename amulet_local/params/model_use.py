"""What a model's file is loaded for, and what else llama.cpp reads with it.

Knows nothing about how anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """One.

    Attributes:
        embeds: whether the file is for hidden states, and not for text.
        lora, control_vectors: files of adapters that the model gets.
    """

    embeds: bool = False
    lora: tuple[str, ...] = ()
    control_vectors: tuple[str, ...] = ()

    @property
    def adapters(self) -> tuple[str, ...]:
        """The files of all adapters."""
        return (*self.lora, *self.control_vectors)


TEXT = ModelUse()
EMBEDDING = ModelUse(embeds=True)
