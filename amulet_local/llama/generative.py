"""Whether a model can generate text, or embed it, as far as its file's header says.

Knows nothing about how a header is read; gguf does.
"""

from __future__ import annotations

from amulet_local.llama.gguf import GGUFHeader

_ENCODER = "it turns text into embeddings and can't continue it"
_DIFFUSION = "it is a diffusion model, which doesn't write from left to right"
_DRAFT = "it only drafts for another model"
_SPEECH = "it is one part of a speech or vision model"
_NOT_GENERATIVE = {
    **dict.fromkeys(("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert"), _ENCODER),
    **dict.fromkeys(("jina-bert-v2", "jina-bert-v3", "eurobert", "t5encoder"), _ENCODER),
    **dict.fromkeys(("gemma-embedding", "llama-embed"), _ENCODER),
    **dict.fromkeys(("dream", "llada", "llada-moe", "rnd1"), _DIFFUSION),
    **dict.fromkeys(("eagle3", "dflash", "gemma4-assistant"), _DRAFT),
    **dict.fromkeys(("clip", "wavtokenizer-dec", "qwen3tts", "pockettts"), _SPEECH),
    "t5": "it is an encoder-decoder model, which this runtime doesn't run",
    "controlvector": "it is a control vector, not a model",
}


def reason_not_generative(header: GGUFHeader) -> str | None:
    """Why the model can't generate text, as far as its header says; None if nothing speaks
    against it. The reason is a clause with no full stop, such as "it is an adapter, not a model".
    """
    metadata, arch = header.metadata, header.architecture
    pooling = metadata.get(f"{arch}.pooling_type", 0)
    if reason := _reason_no_model(header):
        return reason
    if arch in _NOT_GENERATIVE:
        return f"{_NOT_GENERATIVE[arch]} (architecture {arch})"
    if isinstance(pooling, int) and pooling > 0:
        return f"{_ENCODER} ({arch}.pooling_type is {pooling})"
    if metadata.get(f"{arch}.attention.causal", True) is False:
        return f"{_ENCODER} ({arch}.attention.causal is false)"
    return _reason_incomplete(header)


def reason_not_embedding(header: GGUFHeader) -> str | None:
    """Why the model has no hidden states of text to give, in the form of the above."""
    arch = header.architecture
    if reason := _reason_no_model(header):
        return reason
    if _NOT_GENERATIVE.get(arch, _ENCODER) != _ENCODER:
        return f"{_NOT_GENERATIVE[arch]} (architecture {arch})"
    return _reason_incomplete(header)


def _reason_no_model(header: GGUFHeader) -> str | None:
    general_type = header.metadata.get("general.type", "model")
    if general_type in ("adapter", "imatrix", "mmproj"):
        names = {"adapter": "an adapter", "imatrix": "an importance matrix"}
        return f"it is {names.get(str(general_type), 'a multimodal projector')}, not a model"
    return None


def _reason_incomplete(header: GGUFHeader) -> str | None:
    metadata = header.metadata
    part, tokens = metadata.get("split.no", 0), metadata.get("tokenizer.ggml.tokens")
    if isinstance(part, int) and part > 0:
        return f"it is part {part + 1} of a split model: open the first part"
    if header.n_tensors == 0:
        return "it holds a vocabulary and no weights"
    if tokens is None or metadata.get("tokenizer.ggml.model", "none") in ("none", "no_vocab"):
        return "it has no tokenizer"
    return None
