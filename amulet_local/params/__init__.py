"""Every option, with its limits, checked once.

It knows nothing about who asks or about the model. It may import common, grammar and optimizer.
"""
