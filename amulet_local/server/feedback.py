"""The endpoints of profiles: one takes what somebody says of answers, one shows what was learned.

Knows nothing about how a profile learns. It keeps no answers: a client sends what it is about.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from amulet_local.common.errors import AmuletError, InvalidParameterError
from amulet_local.common.results import Chunk, Generation
from amulet_local.params.base import StrictParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference
from amulet_local.profile.listener import Listener, Said, last_question, measuring
from amulet_local.profile.picture import picture
from amulet_local.profile.sources import is_open_webui, open_webui_feedback
from amulet_local.server import openapi
from amulet_local.server.access import json_object
from amulet_local.server.failures import HttpError
from amulet_local.server.fields import messages_of
from amulet_local.server.profiles import ServedProfiles
from amulet_local.server.served_model import ServedModel
from amulet_local.server.service import Service

_log = logging.getLogger("amulet_local.server")

Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class FeedbackFields(StrictParams):
    """What a body says, besides the messages that were answered.

    Attributes:
        response: an answer that is rated, edited or liked.
        rating: 1 for one that is liked, -1 for one that isn't.
        edited: what the user made of it.
        chosen, rejected: of two answers.
        like: a text of the user's own.
        user: who says so.
        model: which model answered; of several it is loaded.
    """

    response: Text | None = None
    rating: Literal[1, -1] | None = None
    edited: Text | None = None
    chosen: Text | None = None
    rejected: Text | None = None
    like: Text | None = None
    user: str | None = None
    model: str | None = None

    def _check_together(self) -> None:
        given = {
            name
            for name in ("response", "rating", "edited", "chosen", "rejected", "like")
            if getattr(self, name) is not None
        }
        if given not in (
            {"response", "rating"},
            {"response", "edited"},
            {"chosen", "rejected"},
            {"like"},
        ):
            raise InvalidParameterError(
                "feedback is response and rating, response and edited, chosen and rejected, or like"
            )


def add_feedback(app: FastAPI, service: Service) -> None:
    """Add it."""

    @app.post("/v1/amulet/feedback", openapi_extra=openapi.FEEDBACK, responses=openapi.ERRORS)
    async def feedback(request: Request) -> Response:
        """Learn from what is said of an answer; says what that changed."""
        body = json_object(await request.body())
        model = service.model
        profiles = _profiles(service)
        if is_open_webui(body):
            body = _own_fields(body)
        question = last_question(messages_of(body))
        if not question:
            raise InvalidParameterError("messages: there is no question of the user in them")
        fields = FeedbackFields(**{name: x for name, x in body.items() if name != "messages"})
        said = await asyncio.to_thread(_learn, profiles, model, question, fields)
        return JSONResponse(said)

    @app.get("/v1/amulet/profile", responses=openapi.ERRORS)
    async def profile(user: str | None = None) -> Response:
        """What was learned of who asks, and what from."""
        return JSONResponse(await asyncio.to_thread(_shown, _profiles(service), user))


def _own_fields(body: dict[str, Any]) -> dict[str, Any]:
    """The same feedback as this endpoint has it.

    Raises:
        InvalidParameterError: it has no thumb on an answer.
    """
    found = open_webui_feedback(body)
    return {
        "messages": [{"role": "user", "content": found.question}],
        "response": found.answer,
        "rating": 1 if found.good else -1,
        **({"user": body["user_id"]} if body.get("user_id") else {}),
    }


def _profiles(service: Service) -> ServedProfiles:
    if service.model.profiles is None:
        raise HttpError(
            501,
            "nothing is learned here: start the server with --profile NAME",
            kind="not_supported_error",
            code="no_profile",
        )
    return service.model.profiles


def _shown(profiles: ServedProfiles, user: str | None) -> dict[str, Any]:
    """The profile of who asks; one that nobody has said anything to yet is empty.

    Raises:
        AmuletError: it can't be read.
    """
    profile = profiles.of(user)
    contents = profile.contents() if profile.exists else profiles.empty()
    return {"object": "amulet.profile", "profile": profile.name, **picture(contents)}


def _learn(
    profiles: ServedProfiles, model: ServedModel, question: str, fields: FeedbackFields
) -> dict[str, Any]:
    """Keep it; what follows from it.

    Raises:
        AmuletError: it can't be kept.
    """
    profile = profiles.of(fields.user, create=True)
    engine = model.engine
    listener = Listener(
        profile, measuring(engine.log_ratios), model=engine.model.path.name, origin="server"
    )
    guess: Preference | None = None
    if fields.like is not None:
        changed = listener.liked(question, fields.like)
    elif fields.chosen is not None:
        assert fields.rejected is not None
        changed = listener.picked(question, Said(text=fields.chosen), Said(text=fields.rejected))
    else:
        assert fields.response is not None
        answer = Said(text=fields.response)
        if fields.edited is not None:
            changed = listener.picked(question, Said(text=fields.edited), answer, kind="fix")
            guess = _guess(listener, model, question, fields.response, fields.edited)
        else:
            changed = listener.rated(question, answer, good=fields.rating == 1)
    taste = listener.taste()
    return {
        "object": "amulet.feedback",
        "profile": profile.name,
        "changed": changed,
        "preference": [
            {"name": item.name or item.text, "weight": item.weight} for item in taste.mix
        ],
        "guess": guess and guess.text,
    }


def _guess(
    listener: Listener, model: ServedModel, question: str, before: str, after: str
) -> Preference | None:
    """What a change shows; None where the model can't be asked: the change itself is kept."""

    def ask(text: str, sampling: SamplingParams) -> str:
        answered = Future[Generation]()

        def deliver(piece: Chunk | AmuletError) -> None:
            if isinstance(piece, AmuletError):
                answered.set_exception(piece)
            elif piece.generation is not None:
                answered.set_result(piece.generation)

        request = model.engine.request(text, method="base", sampling=sampling)
        model.pool.submit(request, deliver)
        return answered.result().text

    try:
        return listener.guess(ask, question, before, after)
    except AmuletError as error:
        _log.warning("no guess from a change: %s", error)
        return None
