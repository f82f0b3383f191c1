"""OpenAI's fields and shapes, for Python callers and for the server.

It knows nothing about HTTP. It may import what answering may, and answering.
"""
