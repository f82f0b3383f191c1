"""Methods, presets and guards: how the rows become one distribution, token by token.

It knows nothing about how rows are computed or how a token is drawn. It may import common, text,
optimizer, params, preferences and llama.
"""
