"""The HTTP server: OpenAI's API with preferences. Knows nothing about how answers are computed."""
