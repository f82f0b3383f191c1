"""What a preference did to an answer, from its trace, as figures and as a page.

It knows nothing about how the trace was made. It may import common and llama.
"""
