"""Mutated files, templates, requests and settings: each is taken or refused with a typed error.

A case is made from a seed and a number alone, so that one that was found can be had again.
"""
