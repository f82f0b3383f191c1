"""Texts in quotation marks within a wish. Knows nothing about what they are for."""

from __future__ import annotations

QUOTED = r"(?:\"[^\"\n]{1,200}\"|(?<!\w)'(?:[^'\n]|'(?=\w)){1,200}'(?!\w))"
"""One such text, in straight marks, as a pattern; an apostrophe within a word closes none."""
