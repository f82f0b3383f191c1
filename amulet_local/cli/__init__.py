"""The command line: one file a command, and what commands share.

It knows no mathematics and no llama.cpp. It may import every room.
"""
