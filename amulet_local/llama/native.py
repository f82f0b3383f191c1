"""What is relied on of llama.cpp: constants, structs, functions, and the versions that were tested.

llama.cpp promises none of it. Numbers stand here because most of them are needed before llama_cpp
is imported; names, so that what a new version may break can be read in one place. A test compares
all of it with what this folder's code says and with what is installed. A new version of
llama-cpp-python takes: run tests/llama/test_native.py, mend what it finds, raise NEWEST_TESTED.
"""

from __future__ import annotations

OLDEST_TESTED = (0, 3, 36)
NEWEST_TESTED = (0, 3, 36)
"""Versions of llama-cpp-python, the first and the last with which the whole suite passed."""

DECODE_STOPPED = 2
"""What llama_decode returns when its abort callback ended it."""
DECODE_FAILURES = {1: "no room left in the KV cache", -1: "an invalid batch"}
"""Other values that it returns, and what they mean."""

CACHE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
"""ggml_type of each type that a KV cache may have."""

FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ2_XXS": 19,
    "IQ2_XS": 20,
    "Q2_K_S": 21,
    "IQ3_XS": 22,
    "IQ3_XXS": 23,
    "IQ1_S": 24,
    "IQ4_NL": 25,
    "IQ3_S": 26,
    "IQ3_M": 27,
    "IQ2_S": 28,
    "IQ2_M": 29,
    "IQ4_XS": 30,
    "IQ1_M": 31,
    "BF16": 32,
    "TQ1_0": 36,
    "TQ2_0": 37,
    "MXFP4_MOE": 38,
    "NVFP4": 39,
    "Q1_0": 40,
    "Q2_0": 41,
}
"""llama_ftype of each type that a file's weights may be written in."""

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1, "mlock": 3}
NOT_LOCKED = "failed to mlock"
"""What llama.cpp logs where the system locks no more memory for a process."""
SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}
POOLING_NONE = 0
BYTE_PAIRS = 2
"""llama_vocab_type of vocabularies that have a pre-tokenizer."""
POOLINGS_OF_TEXTS = (1, 2, 3)
"""Mean, first token, last token: how a text's hidden states become one."""
POOLING_RANK = 4
"""They become a score: how well a document answers a query."""

TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER_DEFINED = 1 << 0, 1 << 3, 1 << 4
TOKEN_STRIPS_BEFORE, TOKEN_STRIPS_AFTER = 1 << 7, 1 << 8
"""Attributes of tokens."""

GPU_DEVICES = (1, 2)
"""GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU."""
LOG_DEBUG, LOG_WARN, LOG_ERROR, LOG_CONTINUE = 1, 3, 4, 5
"""Of ggml_log_level."""

LIBRARY_NAMES = ("__version__", "llama_adapter_lora_p_ctypes", "llama_token")
"""What else is taken from llama_cpp: a text and two types."""

GRAMMAR_TEXT = "_grammar"
"""Attribute of a LlamaGrammar, llama-cpp-python's own, with its GBNF text: no public one has it."""

CALLBACKS = {
    "ggml_abort_callback": 1,
    "llama_log_callback": 3,
    "llama_progress_callback": 2,
}
"""Types of functions that llama.cpp calls, with how many arguments it gives them."""

STRUCTS = {
    "llama_batch": ("n_tokens", "token", "pos", "n_seq_id", "seq_id", "logits"),
    "llama_context_params": (
        "n_ctx",
        "n_batch",
        "n_ubatch",
        "n_seq_max",
        "n_outputs_max",
        "pooling_type",
        "flash_attn_type",
        "type_k",
        "type_v",
        "abort_callback",
        "abort_callback_data",
        "embeddings",
        "offload_kqv",
        "no_perf",
        "op_offload",
        "kv_unified",
    ),
    "llama_logit_bias": ("token", "bias"),
    "llama_model_params": (
        "n_gpu_layers",
        "split_mode",
        "load_mode",
        "main_gpu",
        "tensor_split",
        "progress_callback",
        "use_extra_bufts",
    ),
    "llama_model_quantize_params": ("nthread", "ftype", "allow_requantize"),
    "llama_token_data": ("id", "logit"),
    "llama_token_data_array": ("data", "size", "selected", "sorted"),
}
"""Fields that are set or read. Of a llama_token_data all 12 bytes are written, by kernels."""

FUNCTIONS = {
    "llama_adapter_lora_free": "adapter",
    "llama_adapter_lora_init": "model path_lora",
    "llama_backend_init": "",
    "llama_context_default_params": "",
    "llama_decode": "ctx batch",
    "llama_detokenize": "vocab tokens n_tokens text text_len_max remove_special unparse_special",
    "llama_free": "ctx",
    "llama_ftype_name": "ftype",
    "llama_get_embeddings_ith": "ctx i",
    "llama_get_embeddings_seq": "ctx seq_id",
    "llama_get_logits_ith": "ctx i",
    "llama_get_memory": "ctx",
    "llama_init_from_model": "model params",
    "llama_log_set": "log_callback user_data",
    "llama_max_devices": "",
    "llama_memory_clear": "mem data",
    "llama_memory_seq_cp": "mem seq_id_src seq_id_dst p0 p1",
    "llama_memory_seq_rm": "mem seq_id p0 p1",
    "llama_model_chat_template": "model name",
    "llama_model_default_params": "",
    "llama_model_desc": "model buf buf_size",
    "llama_model_free": "model",
    "llama_model_ftype": "model",
    "llama_model_get_vocab": "model",
    "llama_model_has_encoder": "model",
    "llama_model_is_diffusion": "model",
    "llama_model_is_hybrid": "model",
    "llama_model_is_recurrent": "model",
    "llama_model_load_from_file": "path_model params",
    "llama_model_meta_val_str": "model key buf buf_size",
    "llama_model_n_ctx_train": "model",
    "llama_model_n_embd": "model",
    "llama_model_n_layer": "model",
    "llama_model_n_params": "model",
    "llama_model_quantize": "fname_inp fname_out params",
    "llama_model_quantize_default_params": "",
    "llama_model_size": "model",
    "llama_print_system_info": "",
    "llama_sampler_accept": "smpl token",
    "llama_sampler_apply": "smpl cur_p",
    "llama_sampler_chain_add": "chain smpl",
    "llama_sampler_chain_default_params": "",
    "llama_sampler_chain_init": "params",
    "llama_sampler_free": "smpl",
    "llama_sampler_init_dist": "seed",
    "llama_sampler_init_dry": (
        "vocab dry_multiplier dry_base dry_allowed_length dry_penalty_last_n "
        "seq_breakers num_breakers"
    ),
    "llama_sampler_init_greedy": "",
    "llama_sampler_init_logit_bias": "n_vocab n_logit_bias logit_bias",
    "llama_sampler_init_min_p": "p min_keep",
    "llama_sampler_init_mirostat": "n_vocab seed tau eta m",
    "llama_sampler_init_mirostat_v2": "seed tau eta",
    "llama_sampler_init_penalties": (
        "n_vocab penalty_last_n penalty_repeat penalty_freq penalty_present"
    ),
    "llama_sampler_init_temp": "t",
    "llama_sampler_init_top_k": "k",
    "llama_sampler_init_top_p": "p min_keep",
    "llama_sampler_init_typical": "p min_keep",
    "llama_sampler_init_xtc": "p t min_keep seed",
    "llama_set_adapter_cvec": "ctx data len n_embd il_start il_end",
    "llama_set_adapters_lora": "ctx adapters n_adapters scales",
    "llama_set_embeddings": "ctx embeddings",
    "llama_set_n_threads": "ctx n_threads n_threads_batch",
    "llama_state_seq_get_data": "ctx dst size seq_id",
    "llama_state_seq_get_size": "ctx seq_id",
    "llama_state_seq_set_data": "ctx src size dest_seq_id",
    "llama_supports_gpu_offload": "",
    "llama_token_to_piece": "vocab token buf length lstrip special",
    "llama_tokenize": "vocab text text_len tokens n_tokens_max add_special parse_special",
    "llama_version": "",
    "llama_vocab_bos": "vocab",
    "llama_vocab_eos": "vocab",
    "llama_vocab_eot": "vocab",
    "llama_vocab_fim_mid": "vocab",
    "llama_vocab_fim_pre": "vocab",
    "llama_vocab_fim_rep": "vocab",
    "llama_vocab_fim_sep": "vocab",
    "llama_vocab_fim_suf": "vocab",
    "llama_vocab_get_add_bos": "vocab",
    "llama_vocab_get_add_eos": "vocab",
    "llama_vocab_get_add_sep": "vocab",
    "llama_vocab_get_attr": "vocab token",
    "llama_vocab_get_text": "vocab token",
    "llama_vocab_is_eog": "vocab token",
    "llama_vocab_n_tokens": "vocab",
    "llama_vocab_sep": "vocab",
    "llama_vocab_type": "vocab",
}
"""Functions of llama_cpp that are called, with their parameters, which are given by place."""

GGML_FUNCTIONS = {
    "ggml_backend_dev_count": "",
    "ggml_backend_dev_description": "device",
    "ggml_backend_dev_get": "index",
    "ggml_backend_dev_memory": "device free total",
    "ggml_backend_dev_name": "device",
    "ggml_backend_dev_type": "device",
    "ggml_set_abort_callback": "callback",
}
"""The same in ggml's own library: llama_cpp has no names for them."""


def version_warning(version: str) -> str:
    """What a user should know about running with this version of llama-cpp-python.

    Args:
        version: such as "0.3.36"; what follows its three numbers doesn't count.

    Returns:
        One line; empty for a version that was tested.
    """
    parts = version.partition("+")[0].split(".")[:3]
    try:
        found = tuple(int(part) for part in parts)
    except ValueError:
        found = ()
    if OLDEST_TESTED <= found <= NEWEST_TESTED:
        return ""
    oldest, newest = (".".join(map(str, limit)) for limit in (OLDEST_TESTED, NEWEST_TESTED))
    tested = oldest if oldest == newest else f"{oldest} to {newest}"
    return (
        f"llama-cpp-python {version:.40} is not a version that this was tested with ({tested}); if "
        f"answers look wrong, install one of those"
    )
