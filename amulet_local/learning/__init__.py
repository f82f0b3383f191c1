"""Weights of a mix from texts that somebody likes.

It knows nothing about the command line. It may import what answering may, and answering.
"""
