"""Conversations: turns, their settings, the file that keeps them.

It knows nothing about terminals or HTTP. It may import what answering may, and answering.
"""
