"""A bounded check of a GGUF file's header, before native code sees the file.

llama.cpp calls abort() on some damaged files, and a native abort can't be caught. So these modules
walk the header in pure Python with exact integers and accept only what llama.cpp's own reader
accepts, less what is known to kill or hang that reader. Of the tensor data they read what they are
asked for, of small files. They know nothing about llama_cpp, templates or how a model is run.

Sources of the facts: the GGUF specification (ggml/docs/gguf.md) and llama.cpp's gguf.cpp, ggml.h,
llama-vocab.cpp, llama-model.cpp and llama-arch.cpp. A file that passes can still be refused by
llama.cpp (an unknown architecture, a missing tensor): that is an ordinary error.
"""

from __future__ import annotations

from amulet_local.llama.gguf.header import GGUFHeader, parse_header, read_data, read_header
from amulet_local.llama.gguf.metadata import GGUFArray
from amulet_local.llama.gguf.tensors import GGUFTensor

__all__ = ["GGUFArray", "GGUFHeader", "GGUFTensor", "parse_header", "read_data", "read_header"]
