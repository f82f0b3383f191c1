"""llama.cpp's own tests of llama-server, run against this server; scripts/llama_server_suite.

Nothing of them is here: they are taken from llama-cpp-python's source distribution, adapted where
they look at a model's words, and run on models that are made for it.
"""
