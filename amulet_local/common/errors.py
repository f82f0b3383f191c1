"""Every exception that a public call raises on purpose.

Knows nothing about how an error is shown; the command line prints the message as one line and
exits with 1, a server would answer with a 4xx or 503. No llama.cpp failure and no bare OSError
leaves the package in any other form.

    AmuletError
    ├── InvalidRequestError        the caller asked for something that can't be done
    │   ├── InvalidParameterError  a number or option is out of its range
    │   ├── UnknownPreferenceError a preference that can't be found or read
    │   ├── UnknownMethodError     a decoding method that doesn't exist
    │   ├── UnknownScorerError     a scorer that doesn't exist
    │   ├── EmptyPromptError       nothing to answer
    │   ├── InvalidTextError       text that no tokenizer can take (lone surrogates)
    │   ├── InvalidTokenError      a token id outside the vocabulary
    │   ├── LikedTextError         a text to learn from that can't be used
    │   └── PromptTooLongError     the prompt doesn't fit the context
    │       └── ConversationFullError   a conversation's next turn doesn't
    ├── ModelError                 the model can't be used
    │   ├── ModelNotFoundError     no such file or name
    │   ├── ModelFileError         the file is not a sound GGUF file
    │   ├── AdapterFileError       a LoRA adapter or control vector that this model can't take
    │   └── UnsupportedModelError  sound, but it can't generate text
    ├── ChatTemplateError          no template, or one that fails, escapes or runs away
    ├── FileAccessError            a file or folder that can't be read or written
    ├── ConversationFileError      a saved conversation that can't be used
    ├── SettingsError              the user's settings file says something that can't be used
    ├── ProfileError               a profile that can't be read, written or used
    ├── BackendError               llama.cpp failed
    │   ├── ContextCreationError   no memory, or settings that exclude each other
    │   ├── DecodeError            llama_decode failed
    │   └── LogitsError            logits that no token can be chosen from
    ├── CancelledError             cancelled, in a call that has nothing to return then
    ├── EngineClosedError          the engine was closed
    ├── EngineBusyError            the engine is in the middle of another generation
    ├── JudgeError                 a judge gave no verdict
    ├── QueueFullError             as many requests wait for their turn as may
    ├── ServerError                the HTTP server can't start
    ├── ClusterError               a cluster isn't there, or none of its workers answers
    └── MissingExtraError          an optional dependency isn't installed
"""

from __future__ import annotations

from amulet_local.common.readable import printable


class AmuletError(Exception):
    """Base class of all errors of this package.

    Its text repeats what files and users say so that it acts on no terminal, log or page; `args`
    has it as it was given.
    """

    def __str__(self) -> str:
        return printable(super().__str__())

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.args, dict(vars(self)))


def _again(
    kind: type[AmuletError], arguments: tuple[object, ...], attributes: dict[str, object]
) -> AmuletError:
    """The same error in another process: pickle would call its class with too few arguments."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class InvalidRequestError(AmuletError):
    """The caller asked for something that can't be done."""


class InvalidParameterError(InvalidRequestError):
    """A number or option is out of its range.

    Attributes:
        parameter: its name, where the message doesn't begin with it; empty if nobody said.
    """

    parameter = ""


class UnknownPreferenceError(InvalidRequestError):
    """A preference that can't be found or read."""


class UnknownMethodError(InvalidRequestError):
    """A decoding method that doesn't exist."""


class UnknownScorerError(InvalidRequestError):
    """A scorer that doesn't exist."""


class EmptyPromptError(InvalidRequestError):
    """There is nothing to answer: no messages, or an empty prompt."""


class InvalidTextError(InvalidRequestError):
    """Text that can't be encoded as UTF-8."""


class InvalidTokenError(InvalidRequestError):
    """A token id outside the vocabulary."""


class LikedTextError(InvalidRequestError):
    """A text to learn from that can't be used.

    Attributes:
        line: its line in the file, from 1; 0 if it came from no file.
    """

    def __init__(self, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class PromptTooLongError(InvalidRequestError):
    """The prompt doesn't fit the context.

    Attributes:
        n_prompt_tokens: length of the longest prompt, in tokens.
        n_ctx: context length of a row, in tokens.
    """

    def __init__(self, message: str, *, n_prompt_tokens: int, n_ctx: int) -> None:
        super().__init__(message)
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx


class ConversationFullError(PromptTooLongError):
    """The next turn of a conversation and its answer don't fit the context.

    Attributes:
        n_answer_tokens: room that is left for the answer, in tokens.
    """

    def __init__(
        self, message: str, *, n_prompt_tokens: int, n_ctx: int, n_answer_tokens: int
    ) -> None:
        super().__init__(message, n_prompt_tokens=n_prompt_tokens, n_ctx=n_ctx)
        self.n_answer_tokens = n_answer_tokens


class ModelError(AmuletError):
    """The model can't be used."""


class ModelNotFoundError(ModelError):
    """No such file, and no model of that name."""


class ModelFileError(ModelError):
    """The file is not a sound GGUF file."""


class AdapterFileError(ModelError):
    """A LoRA adapter or a control vector that can't be used, or not with this model."""


class UnsupportedModelError(ModelError):
    """The file is sound, but the model can't generate text."""


class ChatTemplateError(AmuletError):
    """The model has no chat template, or one that fails, escapes or runs away."""


class FileAccessError(AmuletError):
    """A file or folder that can't be read or written."""


class ConversationFileError(AmuletError):
    """A saved conversation that can't be used: damaged, or of a newer version.

    Attributes:
        place: where in the file, e.g. "turns[3].answer" or "line 12"; empty for all of it.
    """

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class SettingsError(AmuletError):
    """The user's settings file says something that can't be used.

    Attributes:
        line: where in the file, from 1.
    """

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(message)
        self.line = line


class ProfileError(AmuletError):
    """A profile that isn't there, or whose file can't be read, written or used."""


class BackendError(AmuletError):
    """llama.cpp failed."""


def unexpected(error: Exception) -> BackendError:
    """What ends the one answer that met an error which nothing raises on purpose.

    It says the kind alone: the rest may repeat a prompt, to a server's log as well.
    """
    return BackendError(f"unexpected {type(error).__name__}; please report it")


class ContextCreationError(BackendError):
    """llama.cpp couldn't create a context: no memory, or settings that exclude each other."""


class DecodeError(BackendError):
    """llama_decode failed.

    Attributes:
        code: the value that llama_decode returned.
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class LogitsError(BackendError):
    """The model returned logits that no token can be chosen from (NaN, +inf, or nothing left)."""


class CancelledError(AmuletError):
    """A call was cancelled that has nothing to return then."""


class EngineClosedError(AmuletError):
    """The engine was closed."""


class EngineBusyError(AmuletError):
    """The engine is in the middle of another generation."""


class JudgeError(AmuletError):
    """A judge gave no verdict: its endpoint failed, or what it said can't be read."""


class QueueFullError(AmuletError):
    """As many requests wait for their turn as may."""


class ServerError(AmuletError):
    """The HTTP server can't start: its address is taken, or isn't one."""


class ClusterError(AmuletError):
    """A cluster that can't be reached, or none of whose workers answers."""


class MissingExtraError(AmuletError):
    """An optional dependency isn't installed."""
