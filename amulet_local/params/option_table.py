"""The options of AmuletParams, SamplingParams and RuntimeParams by their fields, each once.

A field's type, limits and default are in its class; all else that is said of it is here, because
the command's help is made of it and must come before pydantic is loaded. Whatever takes options is
derived from these tables: the command line and its variables, the messages' names, the server's
fields, the plugin for `llm`, the chat's /set and the methods of `eval`. Help texts repeat the
defaults; a test compares them. Knows no values.
"""

from __future__ import annotations

from amulet_local.params.option import (
    ADAPTERS,
    GUARDS,
    OUTPUT,
    PREFERENCE,
    RUNTIME,
    SAMPLING,
    FromFile,
    Option,
)

AMULET_OPTIONS = {
    "guidance_scale": Option(
        "--guidance-scale",
        PREFERENCE,
        "Strength: 0 is the plain answer, 1 a preference in the prompt, more is "
        "stronger. Default: 5.65, which the presets' KL budgets lower.",
        metavar="A",
        is_changeable=True,
        eval="scale",
        plugin="0 the plain prompt, 1 the preference prompt, 5.65 the paper",
    ),
    "alpha": Option(
        "--alpha",
        PREFERENCE,
        "The paper's own parameters, which amount to a guidance scale. Default: 2.",
        metavar="X",
        eval="alpha",
    ),
    "lambda_": Option("--lambda", PREFERENCE, "Default: 2.", metavar="X", eval="lambda"),
    "eta": Option("--eta", PREFERENCE, "Default: 10.", metavar="X", eval="eta"),
    "num_iterations": Option(
        "--iterations", PREFERENCE, "Default: 60.", metavar="T", eval="iterations"
    ),
    "max_guidance": Option(
        "--max-guidance",
        GUARDS,
        "No token gets a larger guidance scale, whatever else is set.",
        metavar="A",
        is_changeable=True,
        plugin="a ceiling for the scale",
    ),
    "min_plausibility": Option(
        "--min-plausibility",
        GUARDS,
        "Only tokens with P times the likeliest's probability under the preference "
        "prompt; 0 is off.",
        metavar="P",
        is_changeable=True,
        eval="mask",
        plugin="least share of the likeliest token's probability",
        neutral=0,
    ),
    "nucleus": Option(
        "--nucleus",
        GUARDS,
        "Only the preference prompt's likeliest tokens, as few as make up the probability "
        "P; 1 is off.",
        metavar="P",
        eval="nucleus",
        neutral=1,
    ),
    "nucleus_temperature": Option(
        "--nucleus-temperature",
        GUARDS,
        "The preference prompt's temperature for --nucleus. Default: 1.",
        metavar="T",
        eval="nucleus_temperature",
    ),
    "kl_budget": Option(
        "--kl-budget",
        GUARDS,
        "Lower the scale, token by token, until the distribution is within NATS of the "
        "preference prompt's.",
        metavar="NATS",
        is_changeable=True,
        eval="kl",
        plugin="nats that a token's distribution may move by",
    ),
    "noise_guard": Option(
        "--noise-guard",
        GUARDS,
        "Leave out differences between the prompts below C times the model's rounding "
        "noise; 0 is off.",
        metavar="C",
        eval="noise",
        neutral=0,
    ),
    "echo_guard": Option(
        "--echo-guard",
        GUARDS,
        "Don't strengthen a recital of the preference.",
        kind="switch",
    ),
    "end_guard": Option(
        "--end-guard",
        GUARDS,
        "Don't let the strength end the answer in mid-sentence.",
        kind="switch",
    ),
    "region_gating": Option(
        "--region-gating",
        GUARDS,
        "Don't strengthen anything inside code.",
        kind="switch",
    ),
    "reasoning_gating": Option(
        "--reasoning-gating",
        GUARDS,
        "Don't strengthen anything while a thinking model reasons.",
        kind="switch",
    ),
    "watch": Option(
        "--watch",
        GUARDS,
        "Break loops, and lower the scale after one and in text that strays.",
        kind="switch",
    ),
    "mix": Option(
        "--mix",
        GUARDS,
        "Weights of several preferences: fixed, or adaptive (more for those that the "
        "text lags behind on). Default: fixed.",
        kind="text",
        metavar="HOW",
    ),
    "mix_temperature": Option(
        "--mix-temperature",
        GUARDS,
        "How slowly adaptive weights shift. Default: 10.",
        metavar="NATS",
    ),
}
"""Fields of AmuletParams; `fixed_scale` by its public name."""

SAMPLING_OPTIONS = {
    "max_tokens": Option(
        "-n --predict --n-predict",
        SAMPLING,
        "Most tokens to generate. Default: 512.",
        chat=("n", "num_predict"),
        plugin="most tokens of the answer",
    ),
    "temperature": Option(
        "--temp --temperature",
        SAMPLING,
        "Temperature. Default: 0, greedy.",
        metavar="X",
        chat=("temp",),
        plugin="0 is greedy",
    ),
    "top_k": Option(
        "--top-k",
        SAMPLING,
        "The likeliest N only, 0 is off. Default: 40.",
        chat=("top_k",),
        plugin="keep the k likeliest tokens",
        neutral=0,
    ),
    "top_p": Option(
        "--top-p",
        SAMPLING,
        "The likeliest that make up P only, 1 is off. Default: 0.95.",
        metavar="P",
        chat=("top_p",),
        plugin="keep this share of probability",
        neutral=1,
    ),
    "min_p": Option(
        "--min-p",
        SAMPLING,
        "Those with P times the likeliest's probability only, 0 is off. Default: 0.05.",
        metavar="P",
        chat=("min_p",),
        plugin="keep this share of the likeliest",
        neutral=0,
    ),
    "typical_p": Option(
        "--typical --typical-p",
        SAMPLING,
        "Those nearest to the expected surprise that make up P only, 1 is off. Default: 1.",
        metavar="P",
        neutral=1,
    ),
    "xtc_probability": Option(
        "--xtc-probability",
        SAMPLING,
        "How often the likeliest are left out, 0 is off. Default: 0.",
        metavar="P",
        is_served=True,
        neutral=0,
    ),
    "xtc_threshold": Option(
        "--xtc-threshold",
        SAMPLING,
        "Of those with this probability all but the last. Default: 0.1.",
        metavar="P",
        is_served=True,
    ),
    "repeat_penalty": Option(
        "--repeat-penalty",
        SAMPLING,
        "1 is off. Default: 1.",
        metavar="X",
        chat=("repeat_penalty",),
        plugin="1 is off",
        neutral=1,
    ),
    "presence_penalty": Option(
        "--presence-penalty",
        SAMPLING,
        "0 is off. Default: 0.",
        metavar="X",
        chat=("presence_penalty",),
        neutral=0,
    ),
    "frequency_penalty": Option(
        "--frequency-penalty",
        SAMPLING,
        "0 is off. Default: 0.",
        metavar="X",
        chat=("frequency_penalty",),
        neutral=0,
    ),
    "repeat_last_n": Option(
        "--repeat-last-n",
        SAMPLING,
        "Tokens that penalties look back at, -1 is all. Default: 64.",
        is_served=True,
    ),
    "dry_multiplier": Option(
        "--dry-multiplier",
        SAMPLING,
        "DRY, against repeated sequences, 0 is off. Default: 0.",
        metavar="X",
        is_served=True,
        neutral=0,
    ),
    "dry_base": Option(
        "--dry-base",
        SAMPLING,
        "Its penalty grows by this factor with each token. Default: 1.75.",
        metavar="X",
        is_served=True,
    ),
    "dry_allowed_length": Option(
        "--dry-allowed-length",
        SAMPLING,
        "Sequences of fewer tokens may repeat. Default: 2.",
        is_served=True,
    ),
    "dry_penalty_last_n": Option(
        "--dry-penalty-last-n",
        SAMPLING,
        "Tokens that DRY looks back at, -1 is all. Default: 64.",
        is_served=True,
    ),
    "dry_sequence_breakers": Option(
        "--dry-sequence-breaker",
        SAMPLING,
        "A text that ends a sequence, 'none' for no such text; give it again for more. "
        'Default: \\n, :, " and *.',
        kind="escaped",
        metavar="TEXT",
        is_served=True,
    ),
    "mirostat": Option(
        "--mirostat",
        SAMPLING,
        "Mirostat 1 or 2 instead of top-k to XTC, 0 is off. Default: 0.",
        is_served=True,
        neutral=0,
    ),
    "mirostat_eta": Option("--mirostat-lr", SAMPLING, "Its rate, eta. Default: 0.1.", metavar="X"),
    "mirostat_tau": Option(
        "--mirostat-ent",
        SAMPLING,
        "Its target, tau, in bits per token. Default: 5.",
        metavar="X",
    ),
    "logit_bias": Option(
        "-l --logit-bias",
        SAMPLING,
        "Add X to a token's logit, e.g. 15043+1, or 15043-inf for never; give it again for more.",
        kind="biases",
        metavar="ID(+/-)X",
    ),
    "stop": Option(
        "--stop -r --reverse-prompt",
        SAMPLING,
        "End the answer before TEXT, which isn't printed; repeat for more.",
        kind="words",
        metavar="TEXT",
        plugin="text that ends the answer",
    ),
    "ignore_eos": Option(
        "--ignore-eos",
        SAMPLING,
        "Never end before --predict tokens.",
        kind="flag",
        is_served=True,
    ),
    "grammar": Option(
        "--grammar",
        SAMPLING,
        "What the answer has to match, in GBNF (as in llama.cpp).",
        kind="text",
        metavar="TEXT",
        file=FromFile("--grammar-file", "the grammar file"),
    ),
    "json_schema": Option(
        "-j --json-schema",
        SAMPLING,
        "A JSON Schema that the answer has to validate against; {} is any JSON.",
        kind="text",
        metavar="TEXT",
        file=FromFile("-jf --json-schema-file", "the JSON schema file"),
        is_served=True,
    ),
    "seed": Option(
        "-s --seed",
        SAMPLING,
        "For the same draws again; -1 is random.",
        kind="seed",
        chat=("seed",),
        plugin="of the draws",
    ),
    "reasoning_format": Option(
        "--reasoning-format",
        OUTPUT,
        "separate: reasoning is no part of the answer; inline: it stays in it, with its tags.",
        kind="text",
        metavar="NAME",
        is_served=True,
    ),
}
"""Fields of SamplingParams. Those that a chat completion has by llama-cpp-python's own names and
defaults are fields of the server there."""

RUNTIME_OPTIONS = {
    "n_ctx": Option(
        "-c --ctx-size",
        RUNTIME,
        "Most tokens of prompt and answer; 0 is what the model was trained with. Default: 2048.",
        plugin="context length in tokens",
    ),
    "n_batch": Option(
        "-b --batch-size", RUNTIME, "Tokens of the prompt computed at once. Default: 512."
    ),
    "n_threads": Option(
        "-t --threads", RUNTIME, "Threads. Default: every core.", plugin="threads of a step"
    ),
    "n_threads_batch": Option(
        "-tb --threads-batch", RUNTIME, "For the prompt. Default: every core."
    ),
    "schedule": Option(
        "--schedule",
        RUNTIME,
        "How the prompts are computed: parallel (a thread for each), serial (in turn), "
        "batched (in one computation) or auto. Default: auto.",
        kind="text",
        metavar="HOW",
    ),
    "threads_per_row": Option(
        "--threads-per-row",
        RUNTIME,
        "Threads for each prompt of a parallel schedule. Default: --threads split evenly.",
    ),
    "retune": Option(
        "--retune",
        RUNTIME,
        "Measure again which schedule is fastest here, instead of remembering it.",
        kind="flag",
    ),
    "n_gpu_layers": Option(
        "-ngl --gpu-layers --n-gpu-layers",
        RUNTIME,
        "Layers on the GPU: a number, 'all' or 'auto'. Default: auto.",
        kind="layers",
        plugin="layers on the GPU",
    ),
    "main_gpu": Option("-mg --main-gpu", RUNTIME, "With several GPUs: the main one."),
    "split_mode": Option(
        "-sm --split-mode",
        RUNTIME,
        "How several GPUs share the model: none, layer or row. Default: layer.",
        kind="text",
        metavar="MODE",
    ),
    "tensor_split": Option(
        "-ts --tensor-split",
        RUNTIME,
        "Each GPU's share of the model, e.g. 3,1.",
        kind="numbers",
        metavar="N,N,...",
    ),
    "offload_kqv": Option(
        "-nkvo --no-kv-offload",
        RUNTIME,
        "Keep the KV cache off the GPU.",
        kind="off",
    ),
    "cache_type_k": Option(
        "-ctk --cache-type-k",
        RUNTIME,
        "f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl. Default: f16.",
        kind="text",
        metavar="TYPE",
    ),
    "cache_type_v": Option(
        "-ctv --cache-type-v",
        RUNTIME,
        "The same for V; a quantised one needs flash attention. Default: f16.",
        kind="text",
        metavar="TYPE",
    ),
    "flash_attention": Option(
        "-fa --flash-attn",
        RUNTIME,
        "on, off or auto. Default: auto, off on the CPU.",
        kind="text",
        metavar="WHEN",
    ),
    "lora": Option(
        "--lora --lora-scaled",
        ADAPTERS,
        "A LoRA adapter for this model, a GGUF file; 1 is the usual scale. Repeat for more.",
        kind="texts",
        metavar="FILE[:SCALE]",
    ),
    "control_vectors": Option(
        "--control-vector --control-vector-scaled",
        ADAPTERS,
        "A control vector for this model, in the same way.",
        kind="texts",
        metavar="FILE[:SCALE]",
    ),
    "control_vector_layers": Option(
        "--control-vector-layer-range",
        ADAPTERS,
        "Layers that control vectors are added to, from 1. Default: all.",
        kind="range",
        metavar="FIRST LAST",
    ),
    "adapters_on": Option(
        "--adapters-on",
        ADAPTERS,
        "'all' prompts, or those with a 'preference' alone: then the plain answer that it "
        "is compared with is the model's own. Default: all.",
        kind="text",
        metavar="ROWS",
    ),
    "load_mode": Option(
        "--load-mode",
        RUNTIME,
        "How weights are read: auto, mmap, mlock or none. Default: auto.",
        kind="text",
        metavar="MODE",
    ),
    "chat_template": Option(
        "--chat-template",
        RUNTIME,
        "A built-in template's name (chatml, llama2, ...) or a Jinja template, instead "
        "of the model's own.",
        kind="text",
        metavar="TEXT",
        file=FromFile(
            "--chat-template-file", "the chat template file", "Read the Jinja template from FILE."
        ),
    ),
    "template_arguments": Option(
        "--chat-template-kwargs",
        RUNTIME,
        "Variables of the template, e.g. '{\"enable_thinking\": false}'.",
        kind="json",
        metavar="JSON",
    ),
    "reproducible": Option(
        "--reproducible",
        RUNTIME,
        "No reuse of earlier work: an answer depends on its question only.",
        kind="flag",
    ),
    "verbose": Option("-v --verbose", OUTPUT, "Show llama.cpp's log on stderr.", kind="flag"),
}
"""Fields of RuntimeParams."""
