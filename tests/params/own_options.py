"""Options of one's own in temporary subclasses, and every place that they are found in, as JSON.

A program for test_own_options.py: what is derived from the classes of params is derived when a
module is imported, so the subclasses have to be there before anything else is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Annotated, Any

from pydantic import Field

from amulet_local.params import amulet, sampling
from amulet_local.params.base import Finite
from amulet_local.params.option import GUARDS, SAMPLING, Option


class WarmSampling(sampling.SamplingParams):
    """Sampling with two more options."""

    warmth: Annotated[
        Finite,
        Field(ge=0, le=5),
        Option(
            "-W --warmth",
            SAMPLING,
            "How warm the words are. Default: 1.5.",
            metavar="X",
            chat=("warmth", "heat"),
            plugin="how warm the words are",
        ),
    ] = 1.5
    bubbly: Annotated[bool, Option("--bubbly", SAMPLING, "Fizz.", kind="flag")] = False


class GlowingAmulet(amulet.AmuletParams):
    """Strength and guards with one more."""

    glow: Annotated[
        Finite,
        Field(ge=0, le=5),
        Option(
            "--glow",
            GUARDS,
            "How it glows. Default: 0.",
            neutral=0,
            is_changeable=True,
            eval="glow",
            plugin="how it glows",
        ),
    ] = 0.0


def main() -> None:
    """Print where they are found."""
    sampling.SamplingParams = WarmSampling
    amulet.AmuletParams = GlowingAmulet
    places = {
        "help": help_text(),
        "flags": asked("--warmth", "2", "--bubbly", "--glow", "3"),
        "variables": asked(AMULET_WARMTH="2", AMULET_BUBBLY="1", AMULET_GLOW="3"),
        "command line before variables": asked("-W", "2", AMULET_WARMTH="4"),
        "message": message("--warmth", "6"),
        "request": request(warmth=2, bubbly=True, glow=3),
        "OpenAPI": described(),
        "llm": plugin(warmth=2, glow=3),
        "/set": chat("warmth"),
        "/set by another name": chat("--heat"),
        "eval": contestant("amulet:glow=3"),
        "demo": demo(),
    }
    json.dump(places, sys.stdout)


def help_text() -> str:
    """What `generate --help` prints."""
    from amulet_local.cli.app import app

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        app(["generate", "--help"], prog_name="amulet-local")
    return out.getvalue()


def asked(*arguments: str, **environment: str) -> dict[str, Any]:
    """The values that a command gets."""
    import typer

    from amulet_local.cli.command import add_command
    from amulet_local.cli.options import AnswerOptions
    from amulet_local.cli.question import read_settings

    found: list[AnswerOptions] = []
    app = typer.Typer()
    add_command(app, AnswerOptions, found.append, name="ask", help="", examples="ask")
    os.environ.update(environment)
    app([*arguments], standalone_mode=False)
    for name in environment:
        del os.environ[name]
    question = read_settings(found[0])
    return values(question.sampling, question.amulet)


def message(*arguments: str) -> str:
    """What a value out of range is answered with."""
    from amulet_local.cli.flag_names import in_flags
    from amulet_local.common.errors import InvalidParameterError

    try:
        asked(*arguments)
    except InvalidParameterError as error:
        return in_flags(str(error))
    return ""


def request(**fields: Any) -> dict[str, Any]:
    """The values that a request to the server gets."""
    from amulet_local.preferences.user_settings import UserModelSettings
    from amulet_local.server.fields import chat_fields

    found = chat_fields(fields)
    return values(found.sampling(64), found.strength(UserModelSettings()))


def described() -> list[str]:
    """Fields of both completions in the OpenAPI document, those of them that are new."""
    from fastapi import FastAPI

    from amulet_local.server import openapi

    app = FastAPI()
    openapi.describe(app)
    schemas = app.openapi()["components"]["schemas"]
    both = set(schemas["ServedFields"]["properties"]) & set(schemas["TextFields"]["properties"])
    return sorted(both & {"warmth", "bubbly", "glow"})


def plugin(**fields: Any) -> dict[str, Any]:
    """What `llm` says of them, and the values that it takes."""
    from amulet_local.llm_plugin import AmuletModel

    options = AmuletModel.Options(**fields)
    return {
        name: [options.model_fields[name].description, getattr(options, name)] for name in fields
    }


def chat(name: str) -> str:
    """What `/set` shows after it was set."""
    from amulet_local.cli.chat.settings import changed_sampling, sampling_in_words

    return sampling_in_words(changed_sampling(name, "2", sampling.SamplingParams()))


def contestant(text: str) -> Any:
    """The value in a method of `eval`."""
    from amulet_local.evaluation.experiment.contestants import contestants

    return contestants(text)[0].amulet.glow


def demo() -> list[str]:
    """The switches that scripts/update_help would write into scripts/demo."""
    from tests.help_in_docs import DEMO, SWITCHES, as_it_should_be

    found = SWITCHES.search(as_it_should_be(DEMO.read_text()))
    assert found is not None
    return found[0].split()


def values(sampling_: Any, amulet_: Any) -> dict[str, Any]:
    """Of the options here."""
    glow = None if amulet_ is None else amulet_.glow
    return {"warmth": sampling_.warmth, "bubbly": sampling_.bubbly, "glow": glow}


if __name__ == "__main__":
    main()
