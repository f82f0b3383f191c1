"""What is freed by `close` can be freed by a `with` block.

Knows nothing about what there is to free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from typing_extensions import Self


class Closing(ABC):
    """Something that has to be closed. As a context manager it closes itself in the end."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
