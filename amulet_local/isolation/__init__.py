"""Loading a model for Python callers: here, or in a child process where it isn't approved.

It knows nothing about how answers are made or about command lines. It may import the engine and
what that imports.
"""
