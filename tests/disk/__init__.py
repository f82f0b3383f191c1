"""A file layer below Python and SQLite that fails where it is told, and notes what is done.

Power loss is simulated by dropping what was written or named and not synced.
"""
