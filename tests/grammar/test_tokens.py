"""Which tokens may come next: against trying each, and against llama.cpp's own grammar sampler."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local import Engine
from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.automaton import DEAD, Automaton
from amulet_local.grammar.tokens import TokenFilter, TokenTable
from amulet_local.llama.vocabulary import Vocabulary

JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,3})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""
ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
CHESS = r"""
root    ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move    ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn    ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle  ::= "O-O" "-O"?
"""
JAPANESE = r"""
root    ::= jp-char+ ([ \t\n] jp-char+)*
jp-char ::= hiragana | [ァ-ヿ] | [、-〾] | [一-鿿]
hiragana ::= [ぁ-ゟ]
"""


def candidates(n: int) -> np.ndarray:
    table = np.zeros((n, 3), dtype=np.int32)
    table[:, 0] = np.arange(n)
    return table.reshape(-1)


def allowed(view: TokenFilter, n_vocab: int) -> set[int]:
    table = candidates(n_vocab)
    return set(table[: 3 * view.keep_allowed(table) : 3].tolist())


class NativeGrammar:
    """llama.cpp's grammar sampler over a whole vocabulary."""

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        import llama_cpp

        self._n_vocab = vocabulary.n_tokens
        self._sampler: Any = llama_cpp.llama_sampler_init_grammar(
            vocabulary.pointer, text.encode(), b"root"
        )
        assert self._sampler

    def allowed(self) -> set[int]:
        import llama_cpp

        table = candidates(self._n_vocab)
        array = llama_cpp.llama_token_data_array()
        array.data = ctypes.cast(table.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
        array.size = self._n_vocab
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return set(np.flatnonzero(np.isfinite(table[1::3].view(np.float32))).tolist())

    def accept(self, token: int) -> None:
        import llama_cpp

        llama_cpp.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        import llama_cpp

        llama_cpp.llama_sampler_free(self._sampler)


@contextmanager
def native_grammar(vocabulary: Vocabulary, text: str) -> Iterator[NativeGrammar]:
    native = NativeGrammar(vocabulary, text)
    try:
        yield native
    finally:
        native.close()


@pytest.mark.parametrize("text", [JSON, ARITHMETIC, CHESS, JAPANESE])
@pytest.mark.parametrize("seed", range(2))
def test_the_tokens_are_those_of_llama_cpp(tiny_engine: Engine, text: str, seed: int) -> None:
    # Left out: control tokens, which llama.cpp takes for their spelling and which add no text, and
    # (next to [^...]) tokens that end within a character, where it is stricter than the grammar.
    vocabulary = tiny_engine.model.vocabulary
    pieces = vocabulary.token_table.pieces
    control = {token for token, piece in enumerate(pieces) if not piece} - vocabulary.end_tokens
    broken = {token for token, piece in enumerate(pieces) if not is_utf8(piece)}
    ignored = control | broken if "[^" in text else control
    choice = random.Random(seed)
    view = TokenFilter(gbnf.parse(text), vocabulary.token_table)
    with native_grammar(vocabulary, text) as native:
        for _ in range(15):
            ours, theirs = allowed(view, vocabulary.n_tokens), native.allowed()
            assert ours - ignored == theirs - ignored
            going_on = sorted(theirs - ignored - vocabulary.end_tokens)
            if not going_on:
                break
            token = choice.choice(going_on)
            native.accept(token)
            view.accept(token)


def is_utf8(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(
    st.lists(st.text("ab€", max_size=4).map(str.encode) | st.binary(max_size=3), max_size=30),
    st.sampled_from(['root ::= ("a" | "b€")* "b"', "root ::= [^a]{1,3}", 'root ::= ("ab")+ | ""']),
    st.data(),
)
@settings(deadline=None)
def test_a_token_may_come_if_and_only_if_its_bytes_go_on(
    pieces: list[bytes], text: str, data: st.DataObject
) -> None:
    end = data.draw(st.integers(0, len(pieces)))
    pieces.insert(end, b"b")  # the end token's own text doesn't count
    automaton = Automaton(gbnf.parse(text))
    view = TokenFilter(gbnf.parse(text), TokenTable(pieces, [end]))
    so_far = b""
    for _ in range(4):
        expected = set()
        for token, piece in enumerate(pieces):
            state = automaton.start
            automaton.begin()
            for byte in so_far + (b"" if token == end else piece):
                state = automaton.step(state, byte)
            fits = automaton.may_end(state) if token == end else piece and state != DEAD
            if fits:
                expected.add(token)
        assert allowed(view, len(pieces)) == expected
        assert {token for token in range(len(pieces)) if view.allows(token)} == expected
        going_on = sorted(expected - {end})
        if not going_on:
            break
        token = data.draw(st.sampled_from(going_on))
        so_far += pieces[token]
        view.accept(token)


def test_impossible_candidates_are_left_out_and_others_keep_their_order() -> None:
    view = TokenFilter(gbnf.parse("root ::= [ab]"), TokenTable([b"a", b"b", b"c", b"a"], []))
    table = np.zeros((4, 3), dtype=np.int32)
    table[:, 0] = [3, 2, 1, 0]
    table[:, 1] = np.array([1.5, 2, -np.inf, -3], dtype=np.float32).view(np.int32)
    flat = table.reshape(-1)
    assert view.keep_allowed(flat) == 2
    assert flat[0:6:3].tolist() == [3, 0]
    assert flat[1:6:3].view(np.float32).tolist() == [1.5, -3]


def test_an_answer_too_ambiguous_is_an_error_and_not_a_wait() -> None:
    pieces = [b"a" * 64]
    view = TokenFilter(
        gbnf.parse('root ::= "a" root b | "a" root c | "a"\nb ::= "b"\nc ::= "c"'),
        TokenTable(pieces, []),
    )
    with pytest.raises(InvalidParameterError, match="too many ways"):
        view.keep_allowed(candidates(1))
    with pytest.raises(InvalidParameterError, match="too many ways"):
        view.allows(0)


def test_the_tables_tree_spells_every_token_with_a_text_once(tiny_engine: Engine) -> None:
    vocabulary = tiny_engine.model.vocabulary
    beginnings, spelled = [b""], {}
    for level in vocabulary.token_table.levels:
        pairs = zip(level.parents.tolist(), level.values.tolist(), strict=True)
        beginnings = [beginnings[parent] + bytes((value,)) for parent, value in pairs]
        assert len(set(beginnings)) == len(beginnings)
        spelled |= {
            token: beginnings[node]
            for token, node in zip(level.tokens.tolist(), level.nodes.tolist(), strict=True)
        }
    assert spelled == {
        token: piece
        for token in range(vocabulary.n_tokens)
        if (piece := vocabulary.piece(token)) and token not in vocabulary.end_tokens
    }
