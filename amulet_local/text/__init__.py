"""What can be read off an answer's text as it comes: reasoning, stop texts, code, JSON, sentences.

It knows nothing about tokens or logits. It imports no other room.
"""
