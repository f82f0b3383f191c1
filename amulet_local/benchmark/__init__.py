"""Speed and memory, measured as ratios in one run. Nothing here runs in a generation.

It knows nothing about what answers are worth. It may import the engine and what that imports.
"""
