"""Grammars: which text an answer may have, and which tokens continue it.

GBNF (llama.cpp's notation) and JSON schemas become rules over bytes, and these an automaton that is
built as far as an answer needs it. It knows nothing about models or llama.cpp: a vocabulary is a
list of byte strings here. Everything is bounded, whatever the grammar (docs/decisions.md says why
llama.cpp's own matcher isn't used). It may import common and optimizer.
"""
