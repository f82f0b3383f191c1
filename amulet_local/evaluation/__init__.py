"""What answers are worth: methods scored, judged, and the strength that suits a model.

It knows nothing about terminals. It may import every room but server and cli.
"""
