"""From messages and instructions to the token ids of each row, with a user's text kept literal.

It knows nothing about decoding methods or about how rows are computed. It may import common, text,
calling, params, preferences and llama.
"""
