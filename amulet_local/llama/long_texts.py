"""Long texts, cut where llama.cpp's tokenizer gives the same tokens for the parts.

Knows nothing about models: special tokens are spellings with ids here. Two things in the native
tokenizer make long texts dangerous:

- It looks for each special token in the whole text, and counts its way from the beginning of a
  list for each that it finds: the time grows with the square of their number. 100,000 of them
  took minutes, and so did lines, where a line's end is one of them (Gemma).
- Where it has no code for a vocabulary's pre-tokenizer it uses std::regex, which calls itself for
  each character of what matches: 25,000 characters without white space ended the process.

A special token stands by itself in what is tokenised, and the text on its two sides is tokenised
apart: so one that no other one overlaps is taken out here, and that is the tokenizer's own answer.
A stretch that std::regex would match as one has no such place; it is cut where words of most
pre-tokenizers end, and where there is none, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from amulet_local.common.spellings import pattern_of
from amulet_local.llama import native

MOST_CHARACTERS = 1024
"""Of a text that the tokenizer gets as it is."""
MOST_RUNS = 64
"""Runs of white space and the like in a part, where these are tokens of their own."""
_BLOCKS = 16
"""Tokens in one piece of such a run."""
MOST_UNBROKEN = 2048
"""Characters without white space, or of white space, that a std::regex gets: a stack of 8 MiB holds
what it needs for 25,000, and threads may have 2 MiB."""
_LOOK_BACK = 512
"""Characters in which a good place for a cut is looked for."""

_TEXT_ONLY = native.TOKEN_UNKNOWN | native.TOKEN_CONTROL
"""Attributes of tokens that aren't looked for where spellings of control tokens are text."""
_C_SPACE = " \t\n\v\f\r"
_GOOD_PLACE = re.compile(r"(?=\s)|(?<=\w)(?=[^\w\s])")
_UNBROKEN = rf"\S{{{MOST_UNBROKEN}}}|\s{{{MOST_UNBROKEN}}}"
_UNBROKEN_WORDS = rf"[^\r\n]{{{MOST_UNBROKEN}}}|\s{{{MOST_UNBROKEN}}}"

_OF_LLAMA_CPP = """
llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe
chatglm-bpe glm4 glm5 starcoder refact command-r smollm codeshell exaone minerva-7b mellum2
gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en
jina-v2-code roberta-bpe exaone4 mpt olmo jais trillion granite-docling stablelm2 qwen2
deepseek-r1-qwen kormo f2llmv2 megrez hunyuan solar-open qwen35 kimi-k2 laguna gemma4
granite-embed-multi-311m sarvam-moe
"""
WITHOUT_REGEX = frozenset(_OF_LLAMA_CPP.split())
"""Pre-tokenizers that llama.cpp has code of its own for (unicode.cpp), as files name them."""
_WORDS_TOO = frozenset({"exaone-moe"})
"""Those whose expressions match several words as one."""


def unbroken(pre_tokenizer: str | None) -> re.Pattern[str] | None:
    """What has to be cut for the pre-tokenizer of that name, or for none; None: nothing has."""
    if pre_tokenizer is None or pre_tokenizer in WITHOUT_REGEX:
        return None
    return re.compile(_UNBROKEN_WORDS if pre_tokenizer in _WORDS_TOO else _UNBROKEN)


def long_texts(
    special: Mapping[str, int], attributes: Mapping[str, int], stretch: re.Pattern[str] | None
) -> tuple[LongTexts, LongTexts]:
    """How texts are cut in which spellings of control tokens are text, and in which they aren't.

    Args:
        special: spellings of all unknown, control and user-defined tokens, and their ids.
        attributes: llama.cpp's of each of them.
        stretch: see `unbroken`.
    """
    strips = {
        word: (bool(found & native.TOKEN_STRIPS_BEFORE), bool(found & native.TOKEN_STRIPS_AFTER))
        for word, found in attributes.items()
        if found & (native.TOKEN_STRIPS_BEFORE | native.TOKEN_STRIPS_AFTER)
    }
    defined = {word: special[word] for word, found in attributes.items() if not found & _TEXT_ONLY}
    strips_of_defined = {word: which for word, which in strips.items() if word in defined}
    control = special.keys() - defined
    return (
        LongTexts(defined, strips_of_defined, (), stretch),
        LongTexts(special, strips, control, stretch),
    )


class LongTexts:
    """What is known of a vocabulary's special tokens."""

    def __init__(
        self,
        special: Mapping[str, int],
        strips: Mapping[str, tuple[bool, bool]],
        control: Iterable[str],
        stretch: re.Pattern[str] | None,
    ) -> None:
        """Get ready.

        Args:
            special: spellings that the tokenizer looks for, and their ids.
            strips: those that take the white space before them, behind them, or both.
            control: those that it looks for only if told so.
            stretch: what has to be cut besides; see `unbroken`.
        """
        self._control = pattern_of(control)
        self._special, self._strips, self._stretch = special, strips, stretch
        self._anywhere = re.compile(f"(?=({pattern_of(special).pattern}))")
        runs = _runs(special, spaces=not strips)
        self._runs = re.compile("|".join(runs)) if runs else None

    def parts(self, text: str) -> Iterator[str | int]:
        """Texts to be tokenised each by itself, and ids of special tokens between them."""
        position, strip_left = 0, False
        for start, end in self._alone(text):
            word = text[start:end]
            if self._strips and word != word.strip(_C_SPACE):
                continue  # which of them takes white space first depends on their lengths
            strips_before, strips_after = self._strips.get(word, (False, False))
            between = text[position:start]
            between = between.lstrip(_C_SPACE) if strip_left else between
            yield from self._between(between.rstrip(_C_SPACE) if strips_before else between)
            yield self._special[word]
            position, strip_left = end, strips_after
        rest = text[position:]
        yield from self._between(rest.lstrip(_C_SPACE) if strip_left else rest)

    def has_control(self, part: str) -> bool:
        """Whether a control token is spelled in it; looking for thousands takes long as well."""
        return self._control.search(part) is not None

    def _alone(self, text: str) -> Iterator[tuple[int, int]]:
        """Where special tokens stand that no other one overlaps, but for what they contain."""
        start = end = 0
        is_alone = False
        for found in self._anywhere.finditer(text):
            if found.start() >= end:
                if is_alone:
                    yield start, end
                start, end, is_alone = found.start(), found.end(1), True
            elif found.end(1) > end:
                end, is_alone = found.end(1), False
        if is_alone:
            yield start, end

    def _between(self, text: str) -> Iterator[str]:
        """A text without special tokens that stand alone."""
        if len(text) <= MOST_CHARACTERS:
            if text:
                yield text
            return
        for part in _cut(text, self._run_starts(text)):
            yield from _cut(part, self._unbroken_ends(part))

    def _run_starts(self, text: str) -> Iterator[int]:
        if self._runs is None:
            return
        for number, found in enumerate(self._runs.finditer(text)):
            if number % MOST_RUNS == 0:
                yield found.start()

    def _unbroken_ends(self, text: str) -> Iterator[int]:
        if self._stretch is None:
            return
        for found in self._stretch.finditer(text):
            start, end = found.end() - _LOOK_BACK, found.end()
            special = [(m.start(), m.end(1)) for m in self._anywhere.finditer(text, start, end)]
            places = [end, *(good.start() for good in _GOOD_PLACE.finditer(text, start, end))]
            yield next((p for p in reversed(places) if not any(a < p < b for a, b in special)), end)


def _cut(text: str, places: Iterator[int]) -> Iterator[str]:
    start = 0
    for place in places:
        if place > start:
            yield text[start:place]
            start = place
    if start < len(text):
        yield text[start:]


def _runs(words: Collection[str], *, spaces: bool) -> list[str]:
    """Patterns of runs of one character that are tokens of their own.

    A run begins where one of these tokens does, and after pieces of the longest one another does.

    Args:
        words: all that there are.
        spaces: whether white space counts.
    """
    lengths: dict[str, set[int]] = {}
    elsewhere: set[str] = set()
    for word in words:
        if word == word[0] * len(word):
            lengths.setdefault(word[0], set()).add(len(word))
        else:
            elsewhere.update(word)
    found = []
    for character, sizes in lengths.items():
        if character not in elsewhere and (spaces or not character.isspace()):
            c, longest = re.escape(character), max(sizes)
            found.append(f"(?:{c}{{{longest}}}){{1,{_BLOCKS}}}|(?<!{c}){c}{{{min(sizes)},}}")
    return found
