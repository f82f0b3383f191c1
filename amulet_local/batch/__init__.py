"""Jobs of many lines: each asks something, and each gets a record, exactly once.

It knows nothing about terminals. It may import every room but evaluation, benchmark and cli.
"""
