"""What every room may use: errors, private files, compiled functions, plain text and HTML.

It knows nothing about models, prompts or answers. It imports no other room.
"""
