"""From a checked request to an answer, token by token, and its score and trace.

It knows nothing about conversations, HTTP or the command line. It may import common, text,
calling, optimizer, params, preferences, llama, prompts, steering and loading.
"""
