"""What a user wants of answers: names, mixes, free text, and the file that keeps them.

It knows nothing about prompts or models. It may import common, text and params.
"""
