"""Several requests at once on one loaded model. Knows nothing about HTTP or chat templates."""
