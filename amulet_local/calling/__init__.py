"""Tool calls: the forms in which models write them, their grammar, and how they are read.

It knows nothing about models, templates or protocols. It may import common, text and grammar.
"""
