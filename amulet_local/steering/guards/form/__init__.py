"""Gives an answer the form that a preference asks for, where that can be counted.

Knows nothing about how wishes are read, which preferences/form has. Strength alone doesn't count
commas or sentences: a model that was asked for none writes some, however strongly it was asked. So
what would break the form isn't offered, and where the answer would break it by going on or by
ending, there is only what keeps it. All else is the model's choice.
"""

from __future__ import annotations

from amulet_local.steering.guards.form.guard import FormGuard

__all__ = ["FormGuard"]
