"""A model's tokens: their ids, their text, and llama.cpp's tokenizer.

Knows nothing about chat templates; what is special is said here, what to do about it there.
"""

from __future__ import annotations

import codecs
import ctypes
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from amulet_local.common.errors import (
    BackendError,
    EngineClosedError,
    InvalidParameterError,
    InvalidTextError,
    InvalidTokenError,
)
from amulet_local.grammar.tokens import TokenTable
from amulet_local.llama import native
from amulet_local.llama.all_pieces import all_pieces
from amulet_local.llama.long_texts import MOST_CHARACTERS, LongTexts, long_texts, unbroken
from amulet_local.llama.token_search import TokenSearch
from amulet_local.llama.word_starts import WordStarts
from amulet_local.text.reasoning import HARMONY_TOKENS, TAGS

_SPECIAL = native.TOKEN_UNKNOWN | native.TOKEN_CONTROL | native.TOKEN_USER_DEFINED
"""Attributes of tokens that text must not spell by accident: unknown, control, user-defined."""

_END_OF_MESSAGE = b"tokenizer.ggml.eom_token_id"
"""Where a file names a token that ends a message; llama.cpp has no function that tells."""
_MODEL, _PRE_TOKENIZER = b"tokenizer.ggml.model", b"tokenizer.ggml.pre"

MOST_PIECES = 8192
"""Tokens whose text is remembered: a text is made of few different ones."""
FILLS_NO_GAPS = (
    "suffix: this model wasn't trained to fill in; leave it out, or load one with "
    "fill-in-the-middle tokens, such as Qwen2.5-Coder"
)
"""What is said to those who ask it for that."""


class Vocabulary:
    """The vocabulary of a loaded model; valid as long as the model is.

    Attributes:
        n_tokens: V, the number of tokens.
    """

    def __init__(self, model_pointer: Any) -> None:
        import llama_cpp

        self._native: Any = llama_cpp.llama_model_get_vocab(model_pointer)
        self.n_tokens = int(llama_cpp.llama_vocab_n_tokens(self._native))
        self._pieces: dict[int, bytes] = {}
        named = _in_metadata(model_pointer, _END_OF_MESSAGE)
        self._named_end_of_message = int(named) if named.isdigit() else -1
        self._unbroken = unbroken(self._pre_tokenizer(model_pointer))

    @property
    def pointer(self) -> Any:
        """The native llama_vocab, for the modules of this folder.

        Raises:
            EngineClosedError: the model was closed.
        """
        if self._native is None:
            raise EngineClosedError("the model is closed; load it again")
        return self._native

    def close(self) -> None:
        """Called when the model is closed: from now on every native call is refused."""
        self._native = None

    @cached_property
    def special_tokens(self) -> Mapping[str, int]:
        """Spelling -> id of every unknown, control or user-defined token."""
        return {text: token for token in self._special_ids if (text := self.spelling(token))}

    @cached_property
    def _special_ids(self) -> Sequence[int]:
        import llama_cpp

        get_attr, native = llama_cpp.llama_vocab_get_attr, self.pointer
        return [token for token in range(self.n_tokens) if get_attr(native, token) & _SPECIAL]

    @cached_property
    def bos_id(self) -> int | None:
        """Begin-of-sequence token, None if the vocabulary has none."""
        import llama_cpp

        return self._optional(llama_cpp.llama_vocab_bos(self.pointer))

    @cached_property
    def eos_id(self) -> int | None:
        """End-of-sequence token, None if the vocabulary has none."""
        import llama_cpp

        return self._optional(llama_cpp.llama_vocab_eos(self.pointer))

    @property
    def bos_text(self) -> str:
        """Spelling of the begin-of-sequence token, empty if there is none."""
        return "" if self.bos_id is None else self.spelling(self.bos_id)

    @property
    def eos_text(self) -> str:
        """Spelling of the end-of-sequence token, empty if there is none."""
        return "" if self.eos_id is None else self.spelling(self.eos_id)

    @cached_property
    def add_bos(self) -> bool:
        """Whether a prompt begins with the begin-of-sequence token."""
        import llama_cpp

        return bool(llama_cpp.llama_vocab_get_add_bos(self.pointer))

    def pair(self, first: Sequence[int], second: Sequence[int]) -> list[int]:
        """Two texts as the models read them that compare texts: with what stands around each."""
        import llama_cpp

        vocab = self.pointer
        sep = self._optional(llama_cpp.llama_vocab_sep(vocab))
        end = self.eos_id if self.eos_id is not None else sep
        begin = [self.bos_id] if self.add_bos and self.bos_id is not None else []
        after = [end] if llama_cpp.llama_vocab_get_add_eos(vocab) and end is not None else []
        between = [sep] if llama_cpp.llama_vocab_get_add_sep(vocab) and sep is not None else []
        return [*begin, *first, *after, *between, *second, *after]

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a generation (end of sequence, end of turn).

        They are special, but for those that the file names as an end, which may be any.
        """
        import llama_cpp

        named = (
            llama_cpp.llama_vocab_eos(self.pointer),
            llama_cpp.llama_vocab_eot(self.pointer),
            self._named_end_of_message,
        )
        return frozenset(
            token
            for token in {*self._special_ids, *named}
            if 0 <= token < self.n_tokens and llama_cpp.llama_vocab_is_eog(self.pointer, token)
        )

    def spelling(self, token: int) -> str:
        """The token as the vocabulary lists it (special tokens: as they are written)."""
        import llama_cpp

        text: bytes | None = llama_cpp.llama_vocab_get_text(self.pointer, token)
        return (text or b"").decode("utf-8", "replace")

    def count(self, text: str) -> int:
        """How many tokens a text has by itself, spellings of control tokens read as text.

        Raises:
            InvalidTextError: as `tokenize`.
        """
        return len(self.tokenize(text, add_special=False, parse_special=False))

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of `text`.

        Args:
            text: any text; a NUL is a character like any other.
            add_special: add the tokens that the vocabulary wants at the start (and end).
            parse_special: read spellings of control tokens as these tokens.

        Raises:
            InvalidTextError: the text holds a lone surrogate.
        """
        try:
            encoded = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"the text holds a lone surrogate (U+{ord(text[error.start]):04X} at character "
                f"{error.start}), which UTF-8 can't express"
            ) from None
        if len(text) <= MOST_CHARACTERS:
            return self._tokenize(encoded, add_special=add_special, parse_special=parse_special)
        cuts = self._long_texts[parse_special]
        found: list[int] = []
        for part in cuts.parts(text):
            if isinstance(part, int):
                found.append(part)
            else:
                found += self._tokenize(
                    part.encode(), add_special=False, parse_special=cuts.has_control(part)
                )
        before, after = self._added if add_special else ((), ())
        return [*before, *found, *after]

    def _tokenize(self, encoded: bytes, *, add_special: bool, parse_special: bool) -> list[int]:
        import llama_cpp

        size = len(encoded) + 8
        while True:
            ids = (llama_cpp.llama_token * size)()
            n = llama_cpp.llama_tokenize(
                self.pointer, encoded, len(encoded), ids, size, add_special, parse_special
            )
            if n >= 0:
                return list(ids[:n])
            if n == -(2**31):
                raise InvalidTextError("the text is too long to tokenise")
            size = -n

    @cached_property
    def _added(self) -> tuple[list[int], list[int]]:
        """What a text gets before it and behind it where it gets anything."""
        bare, whole = (
            self._tokenize(b"a", add_special=add, parse_special=False) for add in (False, True)
        )
        start = next(n for n in range(len(whole) + 1) if whole[n : n + len(bare)] == bare)
        return whole[:start], whole[start + len(bare) :]

    @cached_property
    def _long_texts(self) -> tuple[LongTexts, LongTexts]:
        """How long texts are cut where spellings of control tokens are text, and where not."""
        import llama_cpp

        special = self.special_tokens
        get_attr, native = llama_cpp.llama_vocab_get_attr, self.pointer
        attributes = {word: get_attr(native, token) for word, token in special.items()}
        return long_texts(special, attributes, self._unbroken)

    def _pre_tokenizer(self, model_pointer: Any) -> str | None:
        """Its name, empty if the file has none; None where vocabularies have none."""
        if self.kind != native.BYTE_PAIRS:
            return None
        if _in_metadata(model_pointer, _MODEL) == b"gemma4":
            return "gemma4"
        return _in_metadata(model_pointer, _PRE_TOKENIZER).decode("utf-8", "replace")

    @property
    def kind(self) -> int:
        """llama.cpp's number for how it makes tokens: 1 is SentencePiece, 2 byte pairs, ..."""
        import llama_cpp

        return int(llama_cpp.llama_vocab_type(self.pointer))

    @cached_property
    def gap_tokens(self) -> tuple[int | None, int | None, int | None]:
        """Tokens before a gap's beginning, its end and its text; None where there are none."""
        import llama_cpp

        begin, end, middle = (
            self._optional(get(self.pointer))
            for get in (
                llama_cpp.llama_vocab_fim_pre,
                llama_cpp.llama_vocab_fim_suf,
                llama_cpp.llama_vocab_fim_mid,
            )
        )
        return begin, end, middle

    @cached_property
    def file_tokens(self) -> tuple[int | None, int | None]:
        """Tokens before a project's name and a file's; None where there are none."""
        import llama_cpp

        project = self._optional(llama_cpp.llama_vocab_fim_rep(self.pointer))
        return project, self._optional(llama_cpp.llama_vocab_fim_sep(self.pointer))

    def files_before(self, files: Sequence[tuple[str, str]]) -> list[int]:
        """Files of a project, before the one with a gap: as Qwen2.5-Coder was trained to read them,
        or as text where the vocabulary has no tokens for that. The one with the gap has a name
        also where there are no others, as llama-server writes it.

        Args:
            files: names and texts.
        """

        def ids(text: str) -> list[int]:
            return self.tokenize(text, add_special=False, parse_special=False)

        project, file = self.file_tokens
        if file is None:
            return ids("".join(f"{name}\n{text}\n\n" for name, text in files))
        found = [] if project is None else [project, *ids("myproject\n")]
        for name, text in files:
            found += [file, *ids(f"{name}\n"), *ids(text)]
        return [*found, file, *ids("filename\n")]

    @property
    def fills_gaps(self) -> bool:
        """Whether there are tokens with which a model is asked to fill one."""
        return None not in self.gap_tokens

    def around_gap(self, before: Sequence[int], after: Sequence[int]) -> list[int]:
        """What asks a model that was trained for it to fill a gap between two texts.

        Raises:
            InvalidParameterError: the vocabulary has no tokens for that.
        """
        begin, end, middle = self.gap_tokens
        if begin is None or end is None or middle is None:
            raise InvalidParameterError(FILLS_NO_GAPS)
        return [begin, *before, end, *after, middle]

    def piece(self, token: int) -> bytes:
        """The bytes that `token` adds to a text; none for control tokens.

        Raises:
            InvalidTokenError: the id is outside the vocabulary.
            BackendError: llama.cpp doesn't give its text.
        """
        self.check(token)
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._read_piece(token)
            if len(self._pieces) < MOST_PIECES:
                self._pieces[token] = piece
        return piece

    def _read_piece(self, token: int) -> bytes:
        import llama_cpp

        buffer = ctypes.create_string_buffer(64)
        n = llama_cpp.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, False)
        if n < 0:
            buffer = ctypes.create_string_buffer(-n)
            n = llama_cpp.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, False)
            if n < 0:
                raise BackendError(f"llama.cpp doesn't give the text of token {token}")
        return buffer.raw[:n]

    def text(self, tokens: Iterable[int]) -> str:
        """The text of tokens, control tokens as they are written."""
        pieces = (self.piece(token) or self.spelling(token).encode() for token in tokens)
        return b"".join(pieces).decode("utf-8", "replace")

    def source_text(self, tokens: Sequence[int]) -> str:
        """The text that was tokenised: without what tokenising writes before it."""
        if self.add_bos and tokens and tokens[0] == self.bos_id:
            tokens = tokens[1:]
        text = self.text(tokens)
        return text.removeprefix(" ") if self._writes_space else text

    @cached_property
    def _writes_space(self) -> bool:
        return self.text(self.tokenize("a", add_special=False, parse_special=False)) == " a"

    @cached_property
    def reasoning_markers(self) -> dict[int, bytes]:
        """What the control tokens around reasoning are written as."""
        special = self.special_tokens
        markers = [tag for pair in TAGS.items() for tag in pair]
        if all(text in special for text in HARMONY_TOKENS[:2]):
            markers += HARMONY_TOKENS
        return self.spelled(markers)

    def spelled(self, markers: Iterable[str]) -> dict[int, bytes]:
        """Of some texts, those that are control tokens, whose own piece is empty."""
        special = self.special_tokens
        return {
            special[text]: text.encode()
            for text in markers
            if text in special and not self.piece(special[text])
        }

    @cached_property
    def token_table(self) -> TokenTable:
        """The texts of all tokens, sorted, for grammars; about a microsecond a token."""
        return TokenTable(self._all_pieces, self.end_tokens)

    @cached_property
    def spelled_table(self) -> TokenTable:
        """The same with control tokens as they are written."""
        spelled = self.spelled(self.special_tokens)
        pieces = (spelled.get(token, piece) for token, piece in enumerate(self._all_pieces))
        return TokenTable([*pieces], self.end_tokens)

    @cached_property
    def word_starts(self) -> WordStarts:
        """Which tokens begin a word; some tenths of a microsecond a token."""
        return WordStarts(self._all_pieces)

    @cached_property
    def token_search(self) -> TokenSearch:
        """The texts of all tokens, to be searched; some tenths of a microsecond a token."""
        return TokenSearch(self._all_pieces)

    @cached_property
    def _all_pieces(self) -> list[bytes]:
        return all_pieces(self.pointer, self.n_tokens, self._read_piece)

    def check(self, token: int) -> None:
        """Raise InvalidTokenError for anything but an id of this vocabulary."""
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < self.n_tokens:
            raise InvalidTokenError(
                f"token id {token!r} is outside this vocabulary of {self.n_tokens} tokens"
            )

    @staticmethod
    def _optional(token: int) -> int | None:
        return None if token < 0 else int(token)


def _in_metadata(model_pointer: Any, key: bytes) -> bytes:
    """A short text or number of a model's metadata, empty without."""
    import llama_cpp

    buffer = ctypes.create_string_buffer(64)
    n = llama_cpp.llama_model_meta_val_str(model_pointer, key, buffer, len(buffer))
    return buffer.value if 0 < n < len(buffer) else b""


class TextStream:
    """Turns tokens into text as they come, holding back bytes until a character is whole.

    The bytes of one that is cut off at the end are no text.
    """

    def __init__(self, vocabulary: Vocabulary, markers: Iterable[str] = ()) -> None:
        """Nothing yet.

        Args:
            markers: control tokens that are text, besides those around reasoning.
        """
        self._vocabulary = vocabulary
        self._markers = {**vocabulary.reasoning_markers, **vocabulary.spelled(markers)}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int, *, spell: bool = False) -> str:
        """Text that is complete with this token; may be empty.

        Args:
            spell: whether any control token is text.
        """
        piece = self._markers.get(token) or self._vocabulary.piece(token)
        if spell and not piece:
            piece = self._vocabulary.spelling(token).encode()
        return self._decoder.decode(piece)
