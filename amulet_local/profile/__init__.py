"""A user's profile: what they picked, liked and said, the file that keeps it, what follows from it.

It knows no models, prompts or terminals. It may import common, params and preferences.
"""
