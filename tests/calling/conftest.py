"""llama.cpp's templates."""

from __future__ import annotations

from tests.prompts.conftest import sdist_models

__all__ = ["sdist_models"]
