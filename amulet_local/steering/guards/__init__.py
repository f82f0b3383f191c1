"""The guards, one file each, and the order in which they act.

To add one: a file here with a class of `Guard`, its field in params/amulet.py, and its line in
GUARDS. What a guard is stands in base.py.
Knows nothing about rows.
"""

from __future__ import annotations

from amulet_local.steering.guards.base import Guard
from amulet_local.steering.guards.budget import KlBudget
from amulet_local.steering.guards.code import CodeGate
from amulet_local.steering.guards.decline import DeclineGuard
from amulet_local.steering.guards.early_end import EarlyEnd
from amulet_local.steering.guards.echo import EchoGuard
from amulet_local.steering.guards.form import FormGuard
from amulet_local.steering.guards.gain_cap import GainCap
from amulet_local.steering.guards.json_structure import JsonGate
from amulet_local.steering.guards.kl_target import KlTarget
from amulet_local.steering.guards.loop_watch import LoopWatch
from amulet_local.steering.guards.noise import NoiseGuard
from amulet_local.steering.guards.plausibility import Plausibility
from amulet_local.steering.guards.reasoning import ReasoningGate
from amulet_local.steering.guards.script import ScriptGuard
from amulet_local.steering.guards.settled import SettledGate

GUARDS: tuple[type[Guard], ...] = (
    FormGuard,
    ReasoningGate,
    JsonGate,
    CodeGate,
    SettledGate,
    KlTarget,
    LoopWatch,
    EarlyEnd,
    GainCap,
    NoiseGuard,
    EchoGuard,
    DeclineGuard,
    Plausibility,
    ScriptGuard,
    KlBudget,
)
"""Every guard in its turn: first the one that says what there is to choose from, then those that
decide whether there is steering at all, then those that change the rows, then the mask over what is
left of them, then the budget spent on that."""
