"""What to write in the place of an argument or a method that isn't there.

Knows the names of all options, and the words that llama-cpp-python and OpenAI have for some.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import ParamSpec, TypeVar

from amulet_local.params.amulet import AmuletParams
from amulet_local.params.base import OF_AN_ANSWER, OTHER_WORDS
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams

_P = ParamSpec("_P")
_T = TypeVar("_T")

_OTHER_CALLS = {
    "stream": "; stream_generate(...) gives the pieces as they come",
    "n": "; generate_choices(...) gives several answers",
    "model_path": "; the model is the first argument: load('model.gguf', ...)",
}


_OTHER_METHODS = {
    **dict.fromkeys(
        (
            *("create_completion", "complete", "completion", "completions", "chat", "ask"),
            *("invoke", "predict", "responses", "create_chat_completion_openai_v1"),
        ),
        "; generate(...) answers a question or messages, create_chat_completion(...) does so in "
        "llama-cpp-python's shape",
    ),
    **dict.fromkeys(("stream", "stream_chat"), "; stream_generate(...) gives the pieces"),
    **dict.fromkeys(
        ("batch", "generate_many", "generate_batch", "generate_all"),
        "; answer_all(['What is tea?', ...]) answers many",
    ),
    "compare": "; generate(..., method='base') is the plain answer, method='pref' that of the "
    "prompt alone, and `amulet-local compare` shows them side by side",
    "explain": "; generate(..., trace=5) has in its trace how each token was chosen, and "
    "`amulet-local explain` shows it",
    **dict.fromkeys(("unload", "shutdown", "stop", "free"), "; close() frees the model"),
    **dict.fromkeys(
        ("create_embedding", "embed", "embeddings"),
        "; `amulet-local serve --embedding` gives embeddings",
    ),
    "tokenize": "; model.vocabulary.tokenize('Hi', add_special=False, parse_special=False) gives "
    "the tokens of a text, prompts('Hi') those of a whole prompt",
    "detokenize": "; model.vocabulary.text([1, 2]) gives the text of tokens",
    "n_vocab": "; it is model.vocabulary.n_tokens",
    "token_bos": "; it is model.vocabulary.bos_id",
    "token_eos": "; it is model.vocabulary.eos_id",
    "model_path": "; it is model.path",
    "metadata": "; it is model.header.metadata",
    "reset": "; forget() empties the memory of prompts and answers",
    **dict.fromkeys(
        ("set_cache", "save_state", "load_state"),
        "; save_prompt_cache('mine') keeps what was computed, load_prompt_cache('mine') takes it "
        "over, and what prompts have in common is computed once by itself",
    ),
}
"""Methods and attributes of llama-cpp-python's and of others' models."""


AN_ANSWER = "('What is yeast?', preference='concise')"
"""The arguments of a call that asks something."""


def instead_of_method(name: str) -> str:
    """A clause that says which method of an engine is meant, as `instead_of` does."""
    return _OTHER_METHODS.get(name, "")


def instead_of(name: str, known: Iterable[str], *, write: str = "write ") -> str:
    """A clause that says what to write, with a comma or the like before it; empty for no idea.

    Args:
        name: what was given.
        known: what the call has.
        write: what comes before an argument that is for an answer.
    """
    known = list(known)
    if name in _OTHER_CALLS:
        return _OTHER_CALLS[name]
    close = difflib.get_close_matches(name[:64], known, n=1)
    if close and name not in OTHER_WORDS:
        return f"; did you mean {close[0]!r}?"
    name = OTHER_WORDS.get(name, name)
    for kind in (SamplingParams, AmuletParams, RuntimeParams):
        name = kind.spellings().get(name, name)
    if name in known:
        return f"; did you mean {name!r}?"
    if name in SamplingParams.options:
        return f"; {write}sampling=SamplingParams({name}=...)"
    if name in AmuletParams.options:
        change = f"amulet=PRESETS['balanced'].amulet.replace({name}=...)"
        return f"; {write}preset='strong', or {change}"
    if name in RuntimeParams.options:
        return f"; it is for the model: load(..., {name}=...)"
    for kind, call in ((SamplingParams, "sampling=SamplingParams"), (RuntimeParams, "load")):
        close = difflib.get_close_matches(name[:64], list(kind.options), n=1)
        if close:
            return f"; did you mean {call}({close[0]}=...)?"
    return ""


def instead_of_runtime(name: str) -> str:
    """The same for an argument that `load` doesn't have: what is for an answer is given there."""
    if name in (*OF_AN_ANSWER, "amulet", "sampling"):
        return f"; it is for an answer: engine.generate(..., {name}=...)"
    lead = "it is for an answer: engine.generate(...) with "
    return instead_of(name, RuntimeParams.options, write=lead)


def hinting(
    known: Collection[str], lead: str = ""
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A decorator: an argument that the call doesn't have is answered with what to write.

    Args:
        known: the arguments that may be meant, of this call or of the one that `lead` names.
        lead: a clause that says which call that is.
    """

    def decorate(call: Callable[_P, _T]) -> Callable[_P, _T]:
        own = inspect.signature(call).parameters

        @functools.wraps(call)
        def checked(*arguments: _P.args, **named: _P.kwargs) -> _T:
            for name in named:
                if name not in own:
                    hint = "" if name in known else instead_of(name, known)
                    raise TypeError(f"got an unexpected keyword argument {name!r}{lead}{hint}")
            return call(*arguments, **named)

        return checked

    return decorate


def written(example: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A decorator: arguments that a call has no place for are answered with how one is written.

    Args:
        example: a call.
    """

    def decorate(call: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(call)

        @functools.wraps(call)
        def checked(*arguments: _P.args, **named: _P.kwargs) -> _T:
            try:
                signature.bind(*arguments, **named)
            except TypeError as error:
                raise TypeError(f"{error}; write {example}") from None
            return call(*arguments, **named)

        return checked

    return decorate
