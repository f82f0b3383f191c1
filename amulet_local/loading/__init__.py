"""From a model's name to what a loaded engine needs: the file, contexts, the schedule, the lock.

It knows nothing about prompts or answers. It may import common, optimizer, params and llama.
"""
