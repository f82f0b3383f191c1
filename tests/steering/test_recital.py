"""The echo guard's memory: which tokens would go on with the instruction."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local import Engine
from amulet_local.preferences.wording import as_instruction
from amulet_local.steering.guards.echo import HELD_AFTER, REFUSED_AFTER, Recital


class Letters:
    """A vocabulary of " a" to " z" (0 to 25), "a" to "z" (26 to 51) and "A" to "Z" (52 to 77)."""

    spellings = tuple(
        f"{blank}{chr(first + i)}"
        for blank, first in ((" ", 97), ("", 97), ("", 65))
        for i in range(26)
    )

    def piece(self, token: int) -> bytes:
        return self.spellings[token].encode()

    def tokenize(self, text: str, **_: bool) -> list[int]:
        return [self.spellings.index(text)] if text in self.spellings else [0, 0]


def letters(text: str) -> list[int]:
    return [ord(letter) - 97 for letter in text]


def spelled(text: str) -> list[int]:
    """Every token of these letters, in order."""
    return sorted(token + 26 * way for token in letters(text) for way in range(3))


def recital(plain: str, *preferences: str) -> Recital:
    prompts = [letters(text) for text in preferences]
    return Recital(letters(plain), prompts, Letters())  # type: ignore[arg-type]


def after(memory: Recital, tokens: Sequence[int]) -> Recital:
    for token in tokens:
        memory.accept(token)
    return memory


def test_word_of_the_instruction_is_held_after_two_and_refused_after_three() -> None:
    memory = recital("xyz", "xyabcdez")
    assert (memory.held(), memory.refused()) == ([], [])
    for said, held, refused in (
        ("a", "", ""),
        ("b", "c", ""),
        ("c", "d", "d"),
        ("d", "e", "e"),
        ("e", "", ""),
        ("a", "", ""),
    ):
        after(memory, letters(said))
        assert memory.held() == spelled(held)
        assert memory.refused() == spelled(refused)


def test_what_the_plain_prompt_has_as_well_is_no_recital() -> None:
    memory = after(recital("abcdxyz", "abcdmnopxyz"), letters("abc"))
    assert (memory.held(), memory.refused()) == ([], [])
    assert after(memory, letters("mno")).refused() == spelled("p")
    assert after(memory, letters("xy")).held() == []


def test_case_and_blanks_make_no_difference() -> None:
    way_of_a, way_of_b, way_of_c = 0, 26 + 1, 52 + 2
    memory = after(recital("xz", "xabcdz"), [way_of_a, way_of_b, way_of_c])
    assert memory.refused() == spelled("d")


def test_every_continuation_of_every_preference_counts() -> None:
    memory = after(recital("xz", "xabcdz", "xabcez", "xqabcfz"), letters("abc"))
    assert memory.refused() == spelled("def")


def test_equal_prompts_hold_nothing_back() -> None:
    memory = after(recital("abcdef", "abcdef"), letters("abcde"))
    assert (memory.held(), memory.refused()) == ([], [])


@given(
    st.text("abc", max_size=6),
    st.text("defg", min_size=1, max_size=12),
    st.text("abc", max_size=6),
    st.text("adefg", max_size=12),
)
def test_tokens_are_those_that_follow_the_answers_end_in_the_instruction(
    start: str, added: str, end: str, answer: str
) -> None:
    memory = after(recital(start + end, start + added + end), letters(answer))
    for n, found in ((HELD_AFTER, memory.held()), (REFUSED_AFTER, memory.refused())):
        following = {added[i] for i in range(n, len(added)) if answer[-n:] == added[i - n : i]}
        assert found == spelled("".join(following))


@pytest.mark.parametrize("placement", ["system", "user"])
def test_real_prompts_recite_their_own_instruction(shared_engine: Engine, placement: str) -> None:
    vocabulary = shared_engine.model.vocabulary
    text = "in the cheerful style of an old sailor who loves rhymes"
    instruction = as_instruction(text)
    prompts, *_ = shared_engine._prompter.prompts(
        "How do I sleep?", ["", instruction], system=None, placement=placement
    )
    memory = Recital(prompts[0], prompts[1:], vocabulary)
    said = vocabulary.tokenize(
        "In the cheerful style of an old sailor", add_special=False, parse_special=False
    )
    held = []
    for token in said:
        held.append(token in memory.held())
        memory.accept(token)
    assert held == [False] * HELD_AFTER + [True] * (len(said) - HELD_AFTER)
    (who,) = vocabulary.tokenize(" who", add_special=False, parse_special=False)
    assert who in memory.refused()
