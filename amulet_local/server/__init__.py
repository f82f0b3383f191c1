"""The HTTP server: OpenAI's API with preferences, and a page to try it.

It knows nothing about how answers are computed. It may import every room but benchmark, evaluation
and cli.
"""
