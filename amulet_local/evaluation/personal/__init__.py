"""Profiles judged with real answers: simulated users who pick, and preferences over many turns.

Knows nothing about terminals, or about how a profile is kept.
"""
