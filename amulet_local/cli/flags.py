"""The words of single options: panels of the help, types of values, and flags of several commands.

Knows no command.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from amulet_local.cli import completions
from amulet_local.steering.methods import METHODS

PROMPT = "The question"
PREFERENCE = "The preference and its strength"
GUARDS = "Guards of the strength, and mixes (the preset's unless given)"
SAMPLING = "Sampling (greedy unless --temp is above 0)"
RUNTIME = "Model and runtime (flags as in llama.cpp)"
ADAPTERS = "Adapters of the model"
OUTPUT = "Output"
PANELS = (PROMPT, PREFERENCE, GUARDS, SAMPLING, RUNTIME, ADAPTERS, OUTPUT)
"""Their order in the help; a command's own come before."""

METHOD_NAMES = ", ".join(METHODS)
STEERING_NAMES = ", ".join(
    name for name, method in METHODS.items() if method.needs_plain and method.needs_preference
)
"""Methods, and those of them that move tokens, for help texts."""


def environment_variable(flag: str) -> str:
    """The variable that sets a long flag: --ctx-size -> AMULET_CTX_SIZE."""
    return "AMULET_" + flag.removeprefix("--").upper().replace("-", "_")


def number(text: str) -> int | float:
    """Any number, whole or not, in range or not; what isn't one is wrong usage."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def numbers(text: str) -> tuple[int | float, ...]:
    """Numbers with commas between them."""
    return tuple(number(part) for part in text.split(","))


def token_bias(text: str) -> tuple[int, float]:
    """A token id and what is added to its logit: 15043+1, 15043-0.5, 15043-inf."""
    token, sign, bias = re.fullmatch(r"(\d*)([+-]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if not token or not sign:
        raise typer.BadParameter(f"{text!r} is not a token id and a bias, like 15043-1")
    return int(token), number(bias) * (-1 if sign == "-" else 1)


def gpu_layers(text: str) -> int | float | str:
    """A number of layers, "auto", or "all"."""
    if text == "all":
        return -1
    return text if text == "auto" else number(text)


def option(*flags: str, panel: str, help: str, **more: Any) -> Any:
    """An option that has a variable of the environment too."""
    long = next(flag for flag in flags if flag.startswith("--")).split("/")[0]
    return typer.Option(
        *flags,
        help=help,
        rich_help_panel=panel,
        envvar=environment_variable(long),
        show_envvar=False,
        show_default=False,
        **more,
    )


def numeric(*flags: str, panel: str, help: str, metavar: str = "N") -> Any:
    """An option that takes a number; whether it is in range is said where it is used."""
    return option(*flags, panel=panel, help=help, metavar=metavar, parser=number)


def switch(flag: str, *, panel: str, help: str) -> Any:
    """A switch with its opposite: --flag/--no-flag."""
    return option(f"{flag}/--no-{flag.removeprefix('--')}", panel=panel, help=help)


def json_option(help: str) -> Any:
    """--json, with what it prints."""
    return option("--json", panel=OUTPUT, help=help)


def model_option(help: str) -> Any:
    """-m, with what it is for."""
    return option(
        *("-m", "--model"),
        panel=RUNTIME,
        metavar="MODEL",
        help=help,
        autocompletion=completions.models,
    )


ModelName = Annotated[
    str | None,
    model_option(
        "Path of a GGUF file, or a name that `amulet-local models` lists. Default: smollm2."
    ),
]

CtxSize = Annotated[
    int | None,
    numeric(
        *("-c", "--ctx-size"),
        panel=RUNTIME,
        help="Most tokens of prompt and answer; 0 is what the model was trained with. "
        "Default: 2048.",
    ),
]

Threads = Annotated[
    int | None, numeric("-t", "--threads", panel=RUNTIME, help="Threads. Default: every core.")
]

ThreadsBatch = Annotated[
    int | None,
    numeric("-tb", "--threads-batch", panel=RUNTIME, help="For the prompt. Default: every core."),
]

ScheduleName = Annotated[
    str | None,
    option(
        "--schedule",
        panel=RUNTIME,
        metavar="HOW",
        help="How the prompts are computed: parallel (a thread for each), serial (in turn), "
        "batched (in one computation) or auto. Default: auto.",
    ),
]

GpuLayers = Annotated[
    Any,
    option(
        *("-ngl", "--gpu-layers", "--n-gpu-layers"),
        panel=RUNTIME,
        metavar="N",
        parser=gpu_layers,
        help="Layers on the GPU: a number, 'all' or 'auto'. Default: auto.",
    ),
]
FlashAttn = Annotated[
    str | None,
    option(
        *("-fa", "--flash-attn"),
        panel=RUNTIME,
        metavar="WHEN",
        help="on, off or auto. Default: auto, off on the CPU.",
    ),
]
ChatTemplateText = Annotated[
    str | None,
    option(
        "--chat-template",
        panel=RUNTIME,
        metavar="TEXT",
        help="A built-in template's name (chatml, llama2, ...) or a Jinja template, instead "
        "of the model's own.",
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        "--lora-scaled",
        help="A LoRA adapter for this model, a GGUF file; 1 is the usual scale. Repeat for more.",
        metavar="FILE[:SCALE]",
        rich_help_panel=ADAPTERS,
        show_default=False,
    ),  # its variable is read in command.py, as that of --preference
]
ControlVector = Annotated[
    list[str] | None,
    typer.Option(
        "--control-vector",
        "--control-vector-scaled",
        help="A control vector for this model, in the same way.",
        metavar="FILE[:SCALE]",
        rich_help_panel=ADAPTERS,
        show_default=False,
    ),  # as above
]
ControlVectorLayerRange = Annotated[
    tuple[int, int] | None,
    option(
        "--control-vector-layer-range",
        panel=ADAPTERS,
        metavar="FIRST LAST",
        help="Layers that control vectors are added to, from 1. Default: all.",
    ),
]
AdaptersOn = Annotated[
    str | None,
    option(
        "--adapters-on",
        panel=ADAPTERS,
        metavar="ROWS",
        help="'all' prompts, or those with a 'preference' alone: then the plain answer that it "
        "is compared with is the model's own. Default: all.",
    ),
]
MethodName = Annotated[
    str | None,
    option(
        "--method",
        autocompletion=completions.methods,
        panel=PREFERENCE,
        metavar="NAME",
        help=f"One of {METHOD_NAMES}. Default: amulet with a preference, base without.",
    ),
]
