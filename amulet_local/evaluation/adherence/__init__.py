"""Preferences that a rule can check: a bank of them, and whether an answer follows one.

A check looks at the question and the text of an answer, nothing else: no model, no tokens. None of
them says whether an answer is right or good.
"""
