"""The mathematics: hyper-parameters become a guidance scale, rows of logits become one row.

It knows nothing about models, prompts or samplers. It may import common.
"""
