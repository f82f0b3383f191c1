"""Keeps what a user typed plain text: it never becomes a control token.

Knows nothing about templates or messages. The idea: every marker of the vocabulary (`<|im_end|>`,
`[INST]`, ...) contains one of a few characters (`<`, `[`, ...). Before a template sees a user's
text, a `Disguise` swaps these characters for private-use ones, one for one. In the rendered text,
a marker that is whole is then the template's own, even where a template cut or joined user text;
swapped back, positions are the same. If the markers found before and after swapping back agree,
the text is tokenised in one call, as llama.cpp's own server would. If not, it is cut at the
template's markers and what lies between is tokenised as plain text.

Not guarded, because they are ordinary text to the models that have them: user-defined tokens that
are a single character, white space (GPT-NeoX, Gemma) or an HTML tag (Gemma).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from typing import Protocol

from amulet_local.common.errors import InvalidTextError
from amulet_local.common.spellings import pattern_of
from amulet_local.text.reasoning import TAGS

_REASONING_TAG = re.compile(
    f"({'|'.join(re.escape(tag) for pair in TAGS.items() for tag in pair)})"
)
_HTML_TAG = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup"
    r"|code|pre|p|br|ul|ol|li|a|img|div|span)>"
)
_C_SPACE = " \t\n\v\f\r"
_PRIVATE_USE = (0xF0000, 0xFFFFD)

Match = tuple[int, int, int]  # start, end, token id


class Tokenizer(Protocol):
    """What is needed of a model's vocabulary."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Spelling -> id of every control or user-defined token."""

    @property
    def bos_id(self) -> int | None: ...

    @property
    def eos_id(self) -> int | None: ...

    @property
    def bos_text(self) -> str: ...

    @property
    def eos_text(self) -> str: ...

    @property
    def add_bos(self) -> bool:
        """Whether a prompt begins with the begin-of-sequence token."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


class Disguise:
    """Swaps characters of user text for private-use ones and back; made anew for each prompt."""

    def __init__(
        self, characters: Iterable[str], words: re.Pattern[str] | None, known: str
    ) -> None:
        first, last = _PRIVATE_USE
        start, known_characters = random.randrange(first, last + 1), set(known)
        free = (
            code
            for code in chain(range(start, last + 1), range(first, start))
            if chr(code) not in known_characters
        )
        self._there: dict[int, int] = {}
        for character in characters:
            code = next(free, None)
            if code is None:
                raise InvalidTextError("the text uses every private-use character there is")
            self._there[ord(character)] = code
        self._back = {code: character for character, code in self._there.items()}
        self._words = words
        self._swapped = {c: code for c, code in self._there.items() if not chr(c).isalnum()}

    def hide(self, text: str, *, keep_reasoning_tags: bool = False) -> str:
        """`text` with no marker left in it, except reasoning tags where these are kept."""
        if keep_reasoning_tags:
            parts = _REASONING_TAG.split(text)
            parts[::2] = [self.hide(part) for part in parts[::2]]
            return "".join(parts)
        text = text.translate(self._swapped)
        if self._words is not None:
            text = self._words.sub(lambda m: chr(self._there[ord(m[0][0])]) + m[0][1:], text)
        return text

    def reveal(self, text: str) -> str:
        """`text` as the user typed it."""
        return text.translate(self._back)


class Literalizer:
    """Tokenises rendered text in which a `Disguise` hides the markers that a user typed."""

    def __init__(self, vocabulary: Tokenizer) -> None:
        self._vocabulary = vocabulary
        self._parsed: dict[int, bool] = {}
        self._strips: dict[int, tuple[bool, bool]] = {}
        self._anchor: list[int] | None = None
        self._guarded = {
            spelling: token
            for spelling, token in vocabulary.special_tokens.items()
            if self._is_guarded(spelling, token)
        }
        self._ids = frozenset(self._guarded.values())
        starts = "".join(sorted({spelling[0] for spelling in self._guarded}))
        self._starts = re.compile(f"[{re.escape(starts)}]") if starts else None
        self._pattern = pattern_of(self._guarded)
        self._characters, words = _marker_characters(self._guarded)
        self._words = pattern_of(words) if words else None

    def disguise(self, known: str) -> Disguise:
        """A disguise whose private characters don't occur in `known`."""
        return Disguise(self._characters, self._words, known)

    def encode(self, rendered: str, disguise: Disguise) -> list[int]:
        """Token ids of a rendered text, with the begin-of-sequence token where it belongs."""
        ids = self._encode(rendered, disguise)
        bos = self._vocabulary.bos_id
        if bos is not None and self._vocabulary.add_bos and ids[:1] != [bos]:
            ids.insert(0, bos)
        return ids

    def encode_rest(self, rendered: str, disguise: Disguise) -> list[int]:
        """Token ids of the rest of a rendered text; what comes before it isn't touched by it."""
        markers = self._find(rendered)
        start = markers[0][0] if markers else len(rendered)
        text = disguise.reveal(rendered[:start])
        if markers and self._strip_flags(rendered[start : markers[0][1]], markers[0][2])[0]:
            text = text.rstrip(_C_SPACE)
        return self._plain(text, continues=True) + self._encode(rendered[start:], disguise)

    def markers(self, rendered: str) -> list[Match]:
        """The template's own control tokens in a rendered text, by their beginning."""
        return self._find(rendered)

    def _encode(self, rendered: str, disguise: Disguise) -> list[int]:
        if not rendered:
            return []
        text = disguise.reveal(rendered)
        markers = self._find(rendered)
        if text == rendered or markers == self._find(text):
            return self._vocabulary.tokenize(text, add_special=False, parse_special=True)
        return self._encode_cut(text, _disjoint(markers, text))

    def _encode_cut(self, text: str, markers: list[Match]) -> list[int]:
        ids: list[int] = []
        position, strip_left = 0, False
        for start, end, token in markers:
            strips_before, strips_after = self._strip_flags(text[start:end], token)
            between = text[position:start]
            between = between.lstrip(_C_SPACE) if strip_left else between
            ids += self._plain(between.rstrip(_C_SPACE) if strips_before else between)
            ids.append(token)
            position, strip_left = end, strips_after
        rest = text[position:]
        return ids + self._plain(rest.lstrip(_C_SPACE) if strip_left else rest)

    def _plain(self, text: str, *, continues: bool = False) -> list[int]:
        """Ids of text between two markers, or after other text, none of them special."""
        matches = self._find(text)
        parsed = [
            match for match in matches if self._is_parsed(text[match[0] : match[1]], match[2])
        ]
        for cut_at in (parsed, matches):
            ids = self._pieces(text, sorted({start + 1 for start, _, _ in cut_at}), continues)
            if self._ids.isdisjoint(ids):
                return ids
        raise InvalidTextError("a special token's spelling in the text can't be kept literal")

    def _pieces(self, text: str, cuts: list[int], continues: bool) -> list[int]:
        ids: list[int] = []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            follows = continues or start > 0
            ids += self._continue(text[start:end]) if follows else self._tokenize(text[:end])
        return ids

    def _continue(self, text: str) -> list[int]:
        """Ids of text that follows other text: without the space SentencePiece puts in front."""
        if self._anchor is None:
            newline, both = self._tokenize("\n"), self._tokenize("\n>")
            adds_space = both != newline + self._tokenize(">") and both[: len(newline)] == newline
            self._anchor = newline if adds_space else []
        anchor = self._anchor
        if anchor:
            ids = self._tokenize("\n" + text)
            if ids[: len(anchor)] == anchor:
                return ids[len(anchor) :]
        return self._tokenize(text)

    def _tokenize(self, text: str) -> list[int]:
        if not text:
            return []
        return self._vocabulary.tokenize(text, add_special=False, parse_special=False)

    def _find(self, text: str) -> list[Match]:
        """At each place the longest guarded spelling that begins there; they may overlap."""
        found: list[Match] = []
        if self._starts is None:
            return found
        for start in self._starts.finditer(text):
            match = self._pattern.match(text, start.start())
            if match is not None:
                found.append((match.start(), match.end(), self._guarded[match[0]]))
        return found

    def _is_guarded(self, spelling: str, token: int) -> bool:
        if len(spelling) < 2 or not spelling.replace("▁", " ").strip():
            return False
        return not (_HTML_TAG.fullmatch(spelling) and self._is_parsed(spelling, token))

    def _is_parsed(self, spelling: str, token: int) -> bool:
        """Whether llama.cpp makes the token of it even when asked not to (user-defined tokens)."""
        if token not in self._parsed:
            self._parsed[token] = token in self._tokenize(spelling)
        return self._parsed[token]

    def _strip_flags(self, spelling: str, token: int) -> tuple[bool, bool]:
        """Whether the token swallows white space before it, and after it (Phi-3)."""
        if token not in self._strips:
            before, after = (
                self._vocabulary.tokenize(text, add_special=False, parse_special=True) == [token]
                for text in ("\n" + spelling, spelling + "\n")
            )
            self._strips[token] = before, after
        return self._strips[token]


def _marker_characters(spellings: Iterable[str]) -> tuple[list[str], list[str]]:
    """Characters such that each spelling has one, and the spellings that are all letters.

    A character of a spelling that is all letters can't be swapped wherever it occurs (templates
    compare words); the first letter of such a spelling is swapped where the whole spelling stands.
    """
    characters: set[str] = set()
    words: list[str] = []
    for spelling in sorted(spellings, key=lambda s: (-len(s), s)):
        marks = [c for c in spelling if not (c.isalnum() or c.isspace() or c in "_-▁")]
        if not marks:
            words.append(spelling)
        elif characters.isdisjoint(marks):
            characters.add(marks[0])
    return sorted(characters | {word[0] for word in words}), words


def _disjoint(matches: list[Match], text: str) -> list[Match]:
    """Of overlapping matches the longest (in bytes), as llama.cpp picks them; in order."""
    chosen: list[Match] = []
    if all(a[1] <= b[0] for a, b in pairwise(matches)):
        return matches
    taken = bytearray(len(text))
    for match in sorted(matches, key=lambda m: (-len(text[m[0] : m[1]].encode()), m[0])):
        if not any(taken[match[0] : match[1]]):
            taken[match[0] : match[1]] = b"\1" * (match[1] - match[0])
            chosen.append(match)
    return sorted(chosen)
