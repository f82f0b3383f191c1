"""Everything that touches llama.cpp: files are checked, rows are computed, tokens are drawn.

It knows nothing about preferences, templates or answers. It may import common, text, grammar,
optimizer and params.
"""
