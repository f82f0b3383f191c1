"""Several requests at once on one loaded model.

It knows nothing about HTTP or chat templates. It may import what answering may, and answering.
"""
