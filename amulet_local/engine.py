"""The runtime: a loaded model that answers under a preference.

The front door to what the rooms do: templates and preferences make prompts, rows compute them, the
Realigner combines the rows, llama.cpp's samplers pick. Knows nothing about who asks.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from typing_extensions import Unpack

from amulet_local.answering.answer_stream import AnswerStream
from amulet_local.answering.ask import (
    Ask,
    AskConversation,
    AskScore,
    AskTokens,
    check_names,
    unchangeable,
)
from amulet_local.answering.async_stream import AsyncAnswerStream
from amulet_local.answering.generation import Control
from amulet_local.answering.log_ratios import log_ratios
from amulet_local.answering.request import Request
from amulet_local.answering.scoring import answer_ids, score_answer
from amulet_local.answering.streaming import last_of, stream_answer
from amulet_local.common.errors import EmptyPromptError
from amulet_local.common.results import Chunk, Generation, LogRatios, Score
from amulet_local.conversation.conversation import Conversation, resume
from amulet_local.conversation.conversation_settings import ConversationSettings, OnFull
from amulet_local.conversation.turn_draft import AnswerSource
from amulet_local.learning.learned import Learned
from amulet_local.learning.learning import learn_preferences
from amulet_local.learning.liked_texts import LikedText
from amulet_local.llama.prefill import Progress
from amulet_local.openai.asked import AskCompletion
from amulet_local.openai.chat_completion import (
    ChatCompletionFields,
    choices,
    create_chat_completion,
)
from amulet_local.params.choices import Placement
from amulet_local.params.where_it_goes import AN_ANSWER, instead_of_method, written
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.preference import PreferencesLike, resolve
from amulet_local.prompts.prompter import Messages
from amulet_local.serving.concurrent_model import ConcurrentModel
from amulet_local.steering.presets import placement_of


class Engine(ConcurrentModel):
    """A loaded model that answers.

    One generation runs at a time: another thread waits for its turn; the same thread, in the
    middle of a stream, gets EngineBusyError.
    """

    if not TYPE_CHECKING:  # a type checker is to find what isn't there

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            instead = instead_of_method(name)
            said = f"{kind!r} object has no attribute {name!r}{instead}"
            # Python adds what is spelled alike on `obj`: "_stream" for "stream".
            raise AttributeError(said, name=name, obj=None if instead else self)

        def __call__(self, *arguments: Any, **named: Any) -> NoReturn:
            """Say what is called instead."""
            kind = type(self).__name__
            raise TypeError(f"{kind!r} object is not callable; write generate{AN_ANSWER}")

        @classmethod
        def from_pretrained(cls, *arguments: Any, **named: Any) -> NoReturn:
            """Say what is called instead."""
            raise TypeError(
                f"{cls.__name__} has no from_pretrained; load('model.gguf', n_ctx=2048) takes its "
                "place, and `amulet-local pull ORG/REPOSITORY` downloads a model"
            )

    @written(f"generate{AN_ANSWER}")
    def generate(
        self, messages: Messages, *, prompt_progress: Progress | None = None, **ask: Unpack[Ask]
    ) -> Generation:
        """Answer.

        Args:
            messages: a question, or OpenAI-style messages; a last one of the assistant is gone on
                with.
            preference: what the answer should follow.
            method: a name from METHODS; "amulet" with a preference, else "base".
            avoid: what it should not be like: preferences whose weights count negative.
            amulet: strength and guards, instead of a preset.
            preset: a name from presets.PRESETS; "balanced" if None.
            sampling: length and sampling; greedy if None.
            system: system text of a conversation that brings none; a short default if None.
            placement: the preference goes to the end of the "system" text or of the last "user"
                question; "contrast" also puts a neutral sentence there in the plain prompt.
                Where the preset puts it if None.
            trace: record how each token was chosen, with so many alternatives (0 to 100).
            response_prefix: what the answer begins with; `text` has what follows it.
            template_arguments: variables of the chat template, such as {"enable_thinking": False}.
            bare: without a preference, messages without a system text stay without one.
            continue_final_message: whether the answer goes on with the last message; None does so
                where that is the assistant's, False closes it and begins another; "content" and
                "reasoning_content" say which part of it, of a thinking model.
            add_generation_prompt: whether the prompt ends with the opening of an answer.
            tools: functions that may be called, as in OpenAI's chat completions; the calls are in
                the `tool_calls` of what comes. Not with a grammar.
            tool_choice: "auto" (also None) leaves it to the model whether to call, "required"
                makes it, an object with a function's name makes it call that one; "none".
            parallel_tool_calls: whether it may call several at once; None leaves it to a model that
                isn't made to call.
            prompt_progress: called with (tokens computed, tokens in all) during prefill.

        Raises:
            InvalidRequestError: something about the request, said in its message.
            ChatTemplateError: the model has no usable chat template.
            BackendError: llama.cpp failed; the engine stays usable.
            EngineClosedError, EngineBusyError: see there.
        """
        return last_of(self.stream_generate(messages, prompt_progress=prompt_progress, **ask))

    @written(f"stream_generate{AN_ANSWER}")
    def stream_generate(
        self, messages: Messages, *, prompt_progress: Progress | None = None, **ask: Unpack[Ask]
    ) -> AnswerStream:
        """Answer piece by piece; the last chunk has the whole answer.

        Arguments and errors are those of `generate`; a bad request raises here, not at the first
        chunk. Closing the stream (or leaving its loop and dropping it) ends the generation; its
        `change` sets another strength or preference from the next token on.
        """
        request = self._request(messages, **ask)
        control = Control()
        change = partial(self._request, messages, **unchangeable(ask))
        return AnswerStream(self._stream(request, prompt_progress, control), control, change)

    @written("generate_choices('Name a colour.', 3, preference='creative')")
    def generate_choices(
        self,
        messages: Messages,
        n: int,
        *,
        prompt_progress: Progress | None = None,
        **ask: Unpack[Ask],
    ) -> list[Generation]:
        """Several answers to the same; the prompts are computed once.

        Args:
            messages, prompt_progress, **ask: as for `generate`.
            n: how many, 1 to 128. The seeds are `sampling.seed` and those after it; without one,
                each answer draws its own. Greedy answers are all the same.

        Raises:
            As `generate`.
        """
        answers = []
        for sampling in choices(ask.get("sampling"), n):
            ask["sampling"] = sampling
            answers.append(self.generate(messages, prompt_progress=prompt_progress, **ask))
        return answers

    @written(f"agenerate{AN_ANSWER}")
    async def agenerate(
        self, messages: Messages, *, prompt_progress: Progress | None = None, **ask: Unpack[Ask]
    ) -> Generation:
        """`generate` without blocking the event loop; cancelling the task ends the generation.

        Args and Raises: as for `generate`.
        """
        return await self.astream(messages, prompt_progress=prompt_progress, **ask).whole()

    @written(f"astream{AN_ANSWER}")
    def astream(
        self, messages: Messages, *, prompt_progress: Progress | None = None, **ask: Unpack[Ask]
    ) -> AsyncAnswerStream:
        """`stream_generate` as an asynchronous iterator, which never blocks the event loop.

        Args and Raises: as for `generate`; errors raise at the first piece.
        """
        make = partial(self.stream_generate, messages, prompt_progress=prompt_progress, **ask)
        return AsyncAnswerStream(make)

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[False] = ...,
        **ask: Unpack[AskCompletion],
    ) -> dict[str, Any]: ...

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[True],
        **ask: Unpack[AskCompletion],
    ) -> Iterator[dict[str, Any]]: ...

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: bool,
        **ask: Unpack[AskCompletion],
    ) -> dict[str, Any] | Iterator[dict[str, Any]]: ...

    @written("create_chat_completion([{'role': 'user', 'content': 'Hi'}], temperature=0.7)")
    def create_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], **fields: Any
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """An answer in the shape of OpenAI's API, as llama-cpp-python's method of this name.

        Args:
            messages: OpenAI-style messages.
            **fields: of ChatCompletionFields: those of llama-cpp-python with their defaults, more
                of OpenAI's, and this package's own (`preference`, `guidance_scale`, ...).

        Returns:
            A `chat.completion`; with stream=True an iterator over `chat.completion.chunk`.

        Raises:
            As `generate`.
        """
        self._lock.check_open()
        return create_chat_completion(
            self, self.stream_generate, messages, ChatCompletionFields(**fields)
        )

    @written("generate_from_tokens([1, 4093], [1, 4093, 57])")
    def generate_from_tokens(
        self,
        plain_ids: Sequence[int] | None,
        preference_ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        **ask: Unpack[AskTokens],
    ) -> Generation:
        """Answer prompts that are given as token ids; no template, no system text.

        Args:
            plain_ids: the plain prompt; None where the method doesn't need it.
            preference_ids: the preference prompt, or a list of one per preference.
            method, amulet, sampling, trace: as for `generate`.
            preset: a name from presets.PRESETS; "paper" if None.
            weights: one per preference; all 1 if None.

        Raises:
            As `generate`, and InvalidTokenError for an id outside the vocabulary.
        """
        self._lock.check_open()
        request = self._requests.from_tokens(plain_ids, preference_ids, ask)
        return last_of(self._stream(request, None, Control()))

    @written("score('What is yeast?', 'A fungus.', preference='concise')")
    def score(
        self, messages: Messages, response: str | Sequence[int], **ask: Unpack[AskScore]
    ) -> Score:
        """Log-probabilities of a given answer, token by token, under each row.

        Args:
            messages, preference, avoid, amulet, preset, system, placement: as for `generate`.
            response: the answer, as text or as token ids.

        Raises:
            As `generate`; PromptTooLongError counts prompt and answer together.
            CancelledError: `cancel` was called, or the engine closed, meanwhile.
        """
        answer = answer_ids(self._shared, response)
        request = self._request(messages, answer=answer, **ask)
        return score_answer(self._shared, request, answer)

    @written("log_ratios('What is dew?', 'Water.', bank=['concise', 'formal'])")
    def log_ratios(
        self,
        messages: Messages,
        *responses: str | Sequence[int],
        bank: PreferencesLike = None,
        finished: bool | Sequence[bool] = True,
        max_tokens: int | None = None,
        system: str | None = None,
        placement: Placement | None = None,
    ) -> tuple[LogRatios, ...]:
        """How much likelier each preference's prompt makes given answers than the plain one does.

        It is computed several tokens at a time, beside what is in memory, which stays there.

        Args:
            messages, system, placement: as for `generate`; the placement is the default preset's.
            *responses: the answers, at least one, as text or as token ids.
            bank: the preferences; the built-in ones if None.
            finished: whether an answer ends where its text does; False if it was cut off. One for
                all, or one each.
            max_tokens: only the first so many tokens of each count, at least 1; all if None.

        Raises:
            As `score`.
        """
        if not responses:
            raise EmptyPromptError("there is no answer to compare")
        return log_ratios(
            self._shared,
            self._prompter,
            messages,
            responses,
            resolve(list(BUILT_IN_PREFERENCES) if bank is None else bank),
            finished=finished,
            max_tokens=max_tokens,
            system=system,
            placement=placement or placement_of(None),
        )

    @written("learn([LikedText(...), ...], bank=['concise', 'formal'])")
    def learn(
        self,
        texts: Sequence[LikedText],
        *,
        bank: PreferencesLike = None,
        system: str | None = None,
        placement: Placement | None = None,
        progress: Progress | None = None,
        **params: Any,
    ) -> Learned:
        """Weights of a bank of preferences under which some texts are likeliest.

        Args:
            texts: answers that the user likes, and some that they don't if there are any.
            bank: the preferences, without weights; the eight built-in ones and the user's own if
                None.
            system, placement: as for `generate`; the placement is that of the default preset.
            progress: called with (answer tokens computed, answer tokens in all).
            **params: the fields of LearnParams: ridge, holdout, fast, top_tokens, tail_tokens.

        Raises:
            LikedTextError: a text that can't be used.
            InvalidParameterError: a parameter or the bank can't be used, or without a ridge there
                are no best weights.
            CancelledError: `cancel` was called, or the engine closed, meanwhile.
            Otherwise as `generate`.
        """
        return learn_preferences(
            self._shared,
            self._prompter,
            texts,
            bank=bank,
            system=system,
            placement=placement,
            progress=progress,
            **params,
        )

    @written("conversation(preference='concise')")
    def conversation(
        self, *, on_full: OnFull = "error", **ask: Unpack[AskConversation]
    ) -> Conversation:
        """Begin a conversation.

        Args:
            preference, avoid, method, amulet, preset, sampling, system, placement: as for
                `generate`; `Conversation.set` changes them.
            on_full: what to do when the context is full: "error", or "drop_oldest" turns.

        Raises:
            As `generate`, for what doesn't depend on what is said.
        """
        check_names(AskConversation, ask)
        conversation = Conversation(self._answer_source(), ConversationSettings())
        conversation.set(on_full=on_full, **ask)
        return conversation

    @written("load_conversation('talk.json')")
    def load_conversation(self, path: str | os.PathLike[str]) -> Conversation:
        """Go on with a conversation that `Conversation.save` wrote.

        One that was had with another model goes on with this one; its `warnings` say so.

        Raises:
            FileAccessError: it can't be read.
            ConversationFileError: it is damaged, or of a newer version; it stays as it is.
        """
        return resume(self._answer_source(), path)

    def _stream(
        self, request: Request, prompt_progress: Progress | None, control: Control
    ) -> Generator[Chunk, None, None]:
        return stream_answer(self._shared, request, prompt_progress, control)

    def _answer_source(self) -> AnswerSource:
        self._lock.check_open()
        return AnswerSource(
            request=self._request, stream=self._stream, n_ctx=self.n_ctx, model=self.model.path.name
        )
