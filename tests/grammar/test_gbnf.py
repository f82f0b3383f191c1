"""GBNF is read as llama.cpp reads it; what would run away is refused."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf, utf8
from amulet_local.grammar.automaton import DEAD, Automaton
from tests.grammar.reading import derived, matches


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """The same language in GBNF and as a regular expression of Python."""
    kind = draw(st.sampled_from(["literal", "class", "any"] + ["sequence", "or", "times"] * depth))
    if kind == "literal":
        text = draw(st.text("abé€", min_size=1, max_size=3))
        return f'"{text}"', re.escape(text)
    if kind == "class":
        return draw(st.sampled_from([("[ab]", "[ab]"), ("[^a]", "[^a]"), ("[b-é]", "[b-é]")]))
    if kind == "any":
        return ".", "(?s:.)"
    parts = draw(st.lists(patterns(depth=depth - 1), min_size=1, max_size=3))
    ours, theirs = [part[0] for part in parts], [part[1] for part in parts]
    if kind == "sequence":
        return f"({' '.join(ours)})", "(?:" + "".join(theirs) + ")"
    if kind == "or":
        return f"({' | '.join(ours)})", "(?:" + "|".join(theirs) + ")"
    low = draw(st.integers(0, 3))
    suffix = draw(st.sampled_from(["*", "+", "?", f"{{{low}}}", f"{{{low},}}", f"{{{low},4}}"]))
    return f"({ours[0]}){suffix}", f"(?:{theirs[0]}){suffix}"


@given(patterns(), st.text("abé€x", max_size=6))
@settings(deadline=None)
def test_a_grammar_matches_what_the_same_regular_expression_matches(
    pattern: tuple[str, str], text: str
) -> None:
    automaton = Automaton(gbnf.parse(f"root ::= {pattern[0]}"))
    assert matches(automaton, text) == (re.fullmatch(pattern[1], text) is not None)


@given(patterns(), st.data())
@settings(deadline=None)
def test_what_the_rules_derive_is_matched(pattern: tuple[str, str], data: st.DataObject) -> None:
    grammar = gbnf.parse(f"root ::= {pattern[0]}")
    text = derived(grammar, lambda options: data.draw(st.sampled_from(options)), most=30)
    assert matches(Automaton(grammar), text)
    assert re.fullmatch(pattern[1], text.decode())


@given(
    st.lists(st.tuples(st.integers(1, 0x10FFFF), st.integers(0, 70_000)), min_size=1, max_size=4),
    st.integers(1, 0x10FFFF),
)
@settings(deadline=None)
def test_a_class_matches_its_characters_and_no_others(
    ranges: list[tuple[int, int]], probe: int
) -> None:
    ranges = [(low, min(low + width, 0x10FFFF)) for low, width in ranges]
    assume(any(low < 0xD800 or high > 0xDFFF for low, high in ranges))  # surrogates alone: an error
    inside = "".join(f"\\U{low:08X}-\\U{high:08X}" for low, high in ranges)
    of_class = Automaton(gbnf.parse(f"root ::= [{inside}]"))
    of_others = Automaton(gbnf.parse(f"root ::= [^{inside}]"))
    ends = [end + step for item in ranges for end in item for step in (-1, 0, 1)]
    for code_point in [probe, *ends]:
        if 0 < code_point <= 0x10FFFF and not 0xD800 <= code_point <= 0xDFFF:
            expected = any(low <= code_point <= high for low, high in ranges)
            assert matches(of_class, chr(code_point)) == expected
            assert matches(of_others, chr(code_point)) != expected


@given(st.integers(1, 0x10FFFF), st.integers(0, 3000))
def test_byte_sequences_spell_a_range_of_characters(low: int, width: int) -> None:
    high = min(low + width, 0x10FFFF)
    spelled = set()
    for part in utf8.merged([(low, high)]):
        for sequence in utf8.byte_sequences(*part):
            texts = [b""]
            for first, last in sequence:
                texts = [text + bytes([byte]) for text in texts for byte in range(first, last + 1)]
            spelled.update(texts)
    characters = [chr(c) for c in range(low, high + 1) if not 0xD800 <= c <= 0xDFFF]
    assert spelled == {character.encode() for character in characters}


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ('root ::= "a" # note\n', ["a"], ["", "aa"]),
        ('root ::= a |\n b\na ::= "x" b\nb ::= "y"', ["xy", "y"], ["x"]),
        ('root ::= (\n"a"\n| "b"\n)\r\n', ["a", "b"], ["c"]),
        ('ws ::= | " "\nroot ::= ws "-" ws', ["-", " -", "- "], ["--"]),
        (r'root ::= "\"\\\n\x41\u00e9\U0001F600[\[\]"', ['"\\\nAé😀[[]'], [""]),
        (r"root ::= [a\-\]\\^-]+", ["a-]\\^"], ["b"]),
        ("root ::= [+--]", ["+", ",", "-"], ["."]),
        ("root ::= [^\\n]", ["é"], ["\n", "\0"]),
        ('root ::= "ab"{ 2 , 3 } "c"?*', ["abab", "abababcc"], ["ab", "abababab", "aba"]),
        ('root ::= "a"{0} "b"{0,0}', [""], ["a", "b"]),
        ('root ::= "" | ""+ "a"', ["", "a"], ["b"]),
        ('root ::= (("a"*)*)* "b"', ["b", "aab"], ["a"]),
        ('root ::= "(" root ")" | "x"', ["x", "((x))"], ["((x)"]),
        ('root ::= root | "x"', ["x"], ["xx"]),
    ],
)
def test_notation(text: str, matching: list[str], others: list[str]) -> None:
    automaton = Automaton(gbnf.parse(text))
    assert [item for item in matching if not matches(automaton, item)] == []
    assert [item for item in others if matches(automaton, item)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'root'"),
        ('answer ::= "a"', "'root'"),
        ('root = "a"', "line 1, column 6: expected ::="),
        ('root ::= "a"\nroot ::= "b"', "line 2, column 1: a second rule called 'root'"),
        ('root ::= "a"\n  missing', "line 2"),
        ('root ::= "a" miss-ing "b"', "line 1, column 14: there is no rule called 'miss-ing'"),
        ('root ::= "a', "quotes or brackets"),
        ("root ::= [a", "quotes or brackets"),
        ("root ::= []", "empty"),
        ("root ::= [^]", "empty"),
        ("root ::= [b-a]", "backwards"),
        (r'root ::= "\d"', r"unknown escape \d"),
        (r'root ::= "\x4"', "2 hexadecimal"),
        (r'root ::= "\U00110000"', "no such character"),
        (r'root ::= "a\uD83D\uDE00"', "line 1, column 12: a surrogate"),
        ('root ::= ("a"', "line 1, column 10: this parenthesis isn't closed"),
        ('root ::= ("a" & "b")', "expected )"),
        ('root ::= "a" )', "expected the end of the rule"),
        ('root ::= * "a"', "nothing to repeat"),
        ('root ::= "a"{x}', "expected a number"),
        ('root ::= "a"{1', "expected }"),
        ('root ::= "a"{5,3}', "at least 5 and at most 3"),
        ('root ::= "a"{2001}', "2000 repetitions"),
        ('root ::= "a"{99999999999999999999}', "2000 repetitions"),
        ("root ::= <think>", "tokens"),
        ("root ::= !<[5]>", "tokens"),
        ('root ::= root "a" | "b"', "'root' may call itself"),
        ('root ::= a "b"\na ::= c? root\nc ::= "x"', "may call itself"),
        ('root ::= a root "z" | "y"\na ::= b b\nb ::= "x"?', "may call itself"),
        ("root ::= " + "(" * 101 + '"a"' + ")" * 101, "100 parentheses"),
        ("root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000, "100 parentheses"),
        ('root ::= "a"{2000}{2000}', "200000 elements"),
        ("#" * 300_000, "262144"),
        (r'root ::= "a" [^\x00-\U0010FFFF]', "no character"),
    ],
)
def test_what_cant_be_read_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=re.escape(words)) as caught:
        gbnf.parse(text)
    assert str(caught.value).startswith("grammar: ")
    assert "\n" not in str(caught.value)


HOSTILE = {
    "many ways": 'root ::= "a" root b | "a" root c | "a"\nb ::= "b"\nc ::= "c"',
    "optional in optional": "root ::= r0\n"
    + "".join(f'r{i} ::= r{i + 1}? r{i + 1}? "q"?\n' for i in range(24))
    + 'r24 ::= "y"',
    "same beginning": "root ::= r0\n"
    + "".join(f'r{i} ::= r{i + 1} | r{i + 1} "x"\n' for i in range(40))
    + 'r40 ::= "y"',
    "counted in counted": 'root ::= (("a"{0,100}){0,100}){0,100}',
}
REFUSED = {*HOSTILE}
HOSTILE |= {
    "same alternatives": "root ::= (" + "|".join(["[a-z]"] * 30) + '){0,12} "."',
    "stars": "root ::= " + "[a-z]* " * 60 + '"."',
    "deep": 'root ::= "a" root "b" | "c"',
    "long": 'root ::= "' + "a" * 90_000 + '"',
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.lengthy
def test_work_is_bounded_whatever_the_grammar(name: str) -> None:
    refused = pytest.raises(InvalidParameterError, match="too many ways")
    with refused if name in REFUSED else nullcontext():
        automaton = Automaton(gbnf.parse(HOSTILE[name]))
        state = automaton.start
        for _ in range(100):
            automaton.begin()
            for _ in range(16):
                state = automaton.step(state, ord("a"))
            state = automaton.settle(state)


@pytest.mark.parametrize("limit", ["MAX_STACKS", "MAX_STATES", "MAX_NODES", "MAX_WORK"])
def test_each_bound_on_an_automatons_work_holds_without_the_others(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    grammar = gbnf.parse('root ::= "a" root "b" | "a" root "c" | "e"')

    def read() -> None:
        automaton = Automaton(grammar)
        state = automaton.start
        for _ in range(6):
            state = automaton.step(state, ord("a"))

    read()
    monkeypatch.setattr(f"amulet_local.grammar.automaton.{limit}", 3)
    with pytest.raises(InvalidParameterError, match="too many ways"):
        read()


def test_making_room_changes_no_answer(monkeypatch: Any) -> None:
    monkeypatch.setattr("amulet_local.grammar.automaton.MAX_STATES", 8)
    automaton = Automaton(gbnf.parse('root ::= "{" root? "}" | "[" root* "]"'))
    text = b"{" * 30 + b"[" + b"{[]}" * 20 + b"]" + b"}" * 30
    state = automaton.start
    for byte in text:
        automaton.begin()
        state = automaton.settle(automaton.step(state, byte))
        assert automaton.table.nbytes <= 16 * 1024
    assert automaton.may_end(state)
    assert automaton.step(state, ord("}")) == 0


@pytest.mark.parametrize(
    "rules", ["root ::= root", 'root ::= a "x"\na ::= a', "root ::= a | b\na ::= a\nb ::= a"]
)
def test_a_grammar_that_no_text_begins_is_refused(rules: str) -> None:
    with pytest.raises(InvalidParameterError, match="no text is as it wants"):
        gbnf.parse(rules)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ('root ::= "a" root', b"aa"),  # endless, which a limit of tokens ends
        ('root ::= a | "x"\na ::= a', b"x"),
        ('root ::= a* "x"\na ::= "y"?', b"x"),
        ('root ::= e "x"\ne ::= ""', b"x"),
    ],
)
def test_what_only_partly_leads_nowhere_is_matched(rules: str, text: bytes) -> None:
    automaton = Automaton(gbnf.parse(rules))
    state = automaton.start
    for byte in text:
        state = automaton.step(state, byte)
    assert state != DEAD
