"""Chat templates by the names of model families, for models that have none.

Knows what each family was trained to read, and nothing about rendering. Names are llama.cpp's where
it has one; what they render is compared with its own in the tests. `raw` has no form at all: for
base models, which go on with a text.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from amulet_local.common.errors import InvalidParameterError


def _turns(turn: str, begun: str, *, trims: bool = False, start: str = "") -> str:
    """A template in which every role's turn has the same form.

    Args:
        turn: with ROLE and TEXT in it, as an expression of Jinja.
        begun: what begins the answer, the same.
        trims: whether texts lose the blanks around them.
        start: what the whole begins with.
    """
    text = "message.content | trim" if trims else "message.content"
    body = turn.replace("ROLE", "message.role").replace("TEXT", f"({text})")
    return (
        f"{start}{{% for message in messages %}}{{{{ {body} }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {begun} }}}}{{% endif %}}"
    )


def _by_role(
    system: str, user: str, assistant: str, begun: str, *, trims: bool = False, start: str = ""
) -> str:
    """A template with a form for each role; others as in `_turns`."""
    text = "message.content | trim" if trims else "message.content"
    forms = [form.replace("TEXT", f"({text})") for form in (system, user, assistant)]
    return (
        f"{start}{{% for message in messages %}}"
        f"{{% if message.role == 'system' %}}{{% if message.content %}}{{{{ {forms[0]} }}}}"
        f"{{% endif %}}{{% elif message.role == 'user' %}}{{{{ {forms[1]} }}}}"
        f"{{% else %}}{{{{ {forms[2]} }}}}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {begun} }}}}{{% endif %}}"
    )


def _folded(user: str, assistant: str, begun: str, *, trims: bool = False) -> str:
    """A template without a system turn: that text is a paragraph before the first question."""
    text = "message.content | trim" if trims else "message.content"
    joined = f"(ns.system + ({text}))"
    return (
        "{% set ns = namespace(system='') %}{% for message in messages %}"
        f"{{% if message.role == 'system' %}}{{% if message.content %}}"
        f"{{% set ns.system = ({text}) + '\n\n' %}}{{% endif %}}"
        f"{{% elif message.role == 'user' %}}{{{{ {user.replace('TEXT', joined)} }}}}"
        f"{{% set ns.system = '' %}}"
        f"{{% else %}}{{{{ {assistant.replace('TEXT', f'({text})')} }}}}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {begun} }}}}{{% endif %}}"
    )


_MISTRAL = _folded("'[INST] ' + TEXT + '[/INST]'", "' ' + TEXT + eos_token", "''")
_PHI3 = _turns("'<|' + ROLE + '|>\n' + TEXT + '<|end|>\n'", "'<|assistant|>\n'")
_DEEPSEEK3 = _by_role(
    "TEXT + '\n\n'",
    "'<｜User｜>' + TEXT",
    "'<｜Assistant｜>' + TEXT + '<｜end▁of▁sentence｜>'",
    "'<｜Assistant｜>'",
)

BUILTIN_TEMPLATES: Mapping[str, str] = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama2": (
        "{% set ns = namespace(system='') %}"
        "{% for message in messages %}"
        "{% if message.role == 'system' %}"
        "{% set ns.system = '<<SYS>>\n' + message.content + '\n<</SYS>>\n\n' %}"
        "{% elif message.role == 'user' %}"
        "{{ bos_token + '[INST] ' + ns.system + message.content + ' [/INST]' }}"
        "{% set ns.system = '' %}"
        "{% else %}{{ ' ' + message.content + ' ' + eos_token }}{% endif %}"
        "{% endfor %}"
    ),
    "alpaca": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content + '\n\n' }}"
        "{% elif message.role == 'user' %}{{ '### Instruction:\n' + message.content + '\n\n' }}"
        "{% else %}{{ '### Response:\n' + message.content + eos_token + '\n\n' }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
    ),
    "vicuna": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content + '\n\n' }}"
        "{% elif message.role == 'user' %}{{ 'USER: ' + message.content + '\n' }}"
        "{% else %}{{ 'ASSISTANT: ' + message.content + eos_token + '\n' }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "raw": (
        "{% for message in messages %}{{ message.content }}"
        "{% if message.role == 'system' and message.content %}{{ '\n\n' }}{% endif %}"
        "{% endfor %}"
    ),
    "llama3": _turns(
        "'<|start_header_id|>' + ROLE + '<|end_header_id|>\n\n' + TEXT + '<|eot_id|>'",
        "'<|start_header_id|>assistant<|end_header_id|>\n\n'",
        trims=True,
    ),
    "llama4": _turns(
        "'<|header_start|>' + ROLE + '<|header_end|>\n\n' + TEXT + '<|eot|>'",
        "'<|header_start|>assistant<|header_end|>\n\n'",
        trims=True,
    ),
    "gemma": _folded(
        "'<start_of_turn>user\n' + TEXT + '<end_of_turn>\n'",
        "'<start_of_turn>model\n' + TEXT + '<end_of_turn>\n'",
        "'<start_of_turn>model\n'",
        trims=True,
    ),
    "mistral": _MISTRAL,
    "mistral-v3": _MISTRAL,
    "mistral-v7": _by_role(
        "'[SYSTEM_PROMPT] ' + TEXT + '[/SYSTEM_PROMPT]'",
        "'[INST] ' + TEXT + '[/INST]'",
        "' ' + TEXT + '</s>'",
        "''",
    ),
    "mistral-v7-tekken": _by_role(
        "'[SYSTEM_PROMPT]' + TEXT + '[/SYSTEM_PROMPT]'",
        "'[INST]' + TEXT + '[/INST]'",
        "TEXT + '</s>'",
        "''",
    ),
    "phi": _PHI3,
    "phi3": _PHI3,
    "phi4": _turns(
        "'<|im_start|>' + ROLE + '<|im_sep|>' + TEXT + '<|im_end|>'",
        "'<|im_start|>assistant<|im_sep|>'",
    ),
    "granite": _turns(
        "'<|start_of_role|>' + ROLE + '<|end_of_role|>' + TEXT + '<|end_of_text|>\n'",
        "'<|start_of_role|>assistant<|end_of_role|>'",
    ),
    "command-r": _by_role(
        "'<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + TEXT + '<|END_OF_TURN_TOKEN|>'",
        "'<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + TEXT + '<|END_OF_TURN_TOKEN|>'",
        "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' + TEXT + '<|END_OF_TURN_TOKEN|>'",
        "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'",
        trims=True,
    ),
    "deepseek": _DEEPSEEK3,
    "deepseek2": _by_role(
        "TEXT + '\n\n'",
        "'User: ' + TEXT + '\n\n'",
        "'Assistant: ' + TEXT + '<｜end▁of▁sentence｜>'",
        "'Assistant:'",
    ),
    "deepseek3": _DEEPSEEK3,
    "gpt-oss": _by_role(
        "'<|start|>system<|message|>' + TEXT + '<|end|>'",
        "'<|start|>user<|message|>' + TEXT + '<|end|>'",
        "'<|start|>assistant<|channel|>final<|message|>' + TEXT + '<|end|>'",
        "'<|start|>assistant'",
    ),
    "zephyr": _turns("'<|' + ROLE + '|>\n' + TEXT + '<|endoftext|>\n'", "'<|assistant|>\n'"),
    "falcon3": _turns("'<|' + ROLE + '|>\n' + TEXT + '\n'", "'<|assistant|>\n'"),
    "chatglm4": _turns("'<|' + ROLE + '|>\n' + TEXT", "'<|assistant|>\n'", start="[gMASK]<sop>"),
    "exaone3": _by_role(
        "'[|system|]' + TEXT + '[|endofturn|]\n'",
        "'[|user|]' + TEXT + '\n'",
        "'[|assistant|]' + TEXT + '[|endofturn|]\n'",
        "'[|assistant|]'",
        trims=True,
    ),
    "openchat": _by_role(
        "TEXT + '<|end_of_turn|>'",
        "'GPT4 Correct User: ' + TEXT + '<|end_of_turn|>'",
        "'GPT4 Correct Assistant: ' + TEXT + '<|end_of_turn|>'",
        "'GPT4 Correct Assistant:'",
    ),
}
"""By name."""

_MARKERS = {
    "<|start_header_id|>": "llama3",
    "<|header_start|>": "llama4",
    "<start_of_turn>": "gemma",
    "[SYSTEM_PROMPT]": "mistral-v7",
    "[INST]": "mistral",
    "<|start_of_role|>": "granite",
    "<|START_OF_TURN_TOKEN|>": "command-r",
    "<｜User｜>": "deepseek3",
    "<|channel|>": "gpt-oss",
    "<|im_sep|>": "phi4",
    "<|im_start|>": "chatml",
    "[gMASK]": "chatglm4",
    "<|end|>": "phi3",
}
"""A token that only one family has -> its template."""


_MODELS = {
    **dict.fromkeys(
        ("qwen", "qwen2", "qwen2.5", "qwen3", "smollm", "smollm2", "yi", "hermes"), "chatml"
    ),
    **dict.fromkeys(("gemma2", "gemma3"), "gemma"),
    **dict.fromkeys(("llama3.1", "llama3.2", "llama3.3"), "llama3"),
    "mixtral": "mistral",
    "phi3.5": "phi3",
    "cohere": "command-r",
    "deepseek-v2": "deepseek2",
    **dict.fromkeys(("deepseek-v3", "deepseek-r1"), "deepseek3"),
}
"""What models are called -> the template that they were trained with."""


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


_BY_BARE_NAME = {
    _bare(name): template
    for name, template in (*_MODELS.items(), *((name, name) for name in BUILTIN_TEMPLATES))
}


def builtin_template(name: str) -> str:
    """The source of a template that this package brings along, for models that have none.

    Args:
        name: a family's, or that of models of one; capitals, hyphens and points don't matter.

    Raises:
        InvalidParameterError: there is no built-in template of that name.
    """
    try:
        return BUILTIN_TEMPLATES[_BY_BARE_NAME[_bare(name)]]
    except (KeyError, AttributeError):
        raise InvalidParameterError(
            f"no built-in chat template {name!r:.80}; {_nearest(name)}there are: "
            f"{', '.join(BUILTIN_TEMPLATES)}"
        ) from None


def _nearest(name: object) -> str:
    known = [*BUILTIN_TEMPLATES, *_MODELS]
    close = difflib.get_close_matches(str(name).lower()[:40], known, n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def likely_template(tokens: Callable[[str], Sequence[int]]) -> str | None:
    """The family whose marker a vocabulary has as a token of its own; None if it has none.

    Args:
        tokens: reads a text, with the spellings of control tokens as these.
    """
    return next((name for marker, name in _MARKERS.items() if len(tokens(marker)) == 1), None)


def foreign_marker(source: str, tokens: Callable[[str], Sequence[int]]) -> str | None:
    """A marker that a template is made of and a vocabulary lacks; None if it lacks none.

    [INST] and the like don't count: the first models of their families read them as text.

    Args:
        source: the template.
        tokens: as for `likely_template`.
    """
    marks = (marker for marker in _MARKERS if marker.startswith("<") and marker in source)
    return next((marker for marker in marks if len(tokens(marker)) != 1), None)
