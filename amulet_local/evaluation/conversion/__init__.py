"""Published weights (safetensors) -> GGUF files, for the scorers that have a model of their own."""
