"""llama-server's and llama-cli's flags that a command here hasn't: which have nothing to do, and
what does others'.

Knows words and no model. A command line that was written for llama-server starts `serve`, one for
llama-cli `generate` or `chat`, where the answers are the same; where they wouldn't be, the error
says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from amulet_local.cli.command import HelpCommand
from amulet_local.cli.terminal import note


def _words(text: str) -> list[str]:
    return text.split()


ALREADY = frozenset(
    _words(
        """
        --jinja --metrics --props --cont-batching -cb --no-context-shift --cache-prompt --warmup
        --prefill-assistant --offline --escape -e --perf --no-perf --ui --webui --op-offload
        --kv-offload -kvo --no-mmproj --no-mmproj-auto --no-ui-mcp-proxy
        --no-webui-mcp-proxy --no-kv-unified -no-kvu --cors-credentials --no-cors-credentials
        --no-agent -no-ag --no-mmproj-offload --mmproj-offload --mmproj-auto --no-log-prefix
        --no-log-timestamps --no-log-jsonl --no-skip-chat-parsing --models-autoload
        """
    )
)
"""What they ask for is what happens, or is about something that isn't here."""

NO_EFFECT: Mapping[str, int] = {
    **dict.fromkeys(
        _words(
            """
            --no-jinja --kv-unified -kvu --swa-full --no-warmup --no-cont-batching -nocb
            --cache-idle-slots --no-cache-idle-slots --no-host --no-op-offload
            --check-tensors --log-disable --log-prefix --log-timestamps --log-jsonl --simple-io
            --no-escape --reuse-port --no-prefill-assistant --reasoning-preserve
            --no-reasoning-preserve --no-cache-prompt --backend-sampling --backend_sampling -bs
            --spm-infill --special -sp --skip-chat-parsing --nowordwrap --hidethinking
            """
        ),
        0,
    ),
    **dict.fromkeys(
        _words(
            """
            -ub --ubatch-size --keep --cache-ram -cram --ctx-checkpoints --swa-checkpoints -ctxcp
            --keepalive
            --checkpoint-min-step -cms --cpu-mask -C --cpu-range -Cr --cpu-strict --prio --poll
            --cpu-mask-batch -Cb --cpu-range-batch -Crb --cpu-strict-batch --prio-batch
            --poll-batch --numa --defrag-thold -dt --threads-http --cache-reuse
            --slot-prompt-similarity -sps --timeout -to --sse-ping-interval --log-file
            --log-colors --verbosity --log-verbosity -lv --hf-token -hft --lazy-mode -lzm
            --kv-unified-per-slot --fit -fit --fit-target -fitt --fit-ctx -fitc --cors-methods
            --cors-headers
            --ui-config --webui-config --ui-config-file --webui-config-file --log-prompts-dir
            --lookup-cache-static -lcs --lookup-cache-dynamic -lcd --embd-normalize
            --image-min-tokens --image-max-tokens --mtmd-batch-max-tokens --video-fps
            --video-timestamp-interval --video-ffmpeg-dir --mmproj-device -mmdev
            """
        ),
        1,
    ),
}
"""They change how fast llama-server answers, or what it logs; by how many values they take."""

DRAFT = (
    "there is no draft model, which wouldn't know the preference's prompt that the answer comes "
    "from; --draft auto guesses from what stands in prompt and answer already"
)

DOWNLOADS = (
    "nothing is downloaded here: `amulet-local pull ORG/REPOSITORY:TYPE` does, once, and says what "
    "to give to -m"
)

INSTEAD: Mapping[tuple[str, ...], str] = {
    tuple(_words("--hf-repo -hf -hfr --hf-file -hff --model-url -mu --docker-repo -dr")): DOWNLOADS,
    ("--context-shift",): (
        "a context isn't shifted: what is forgotten would change every prompt of an answer; use a "
        "larger -c, which is for each request here"
    ),
    ("--grp-attn-n", "-gan", "--grp-attn-w", "-gaw"): "self-extend isn't done; use a larger -c",
    tuple(
        _words(
            """
            --model-draft -md --draft-max --draft-min --draft-n --draft-n-min --draft-p-split
            --draft-p-min --mtp --eagle3 -hfd -hfrd -ctkd -ctvd -td -tbd -Cd -Crd -Cbd -otd -cmoed
            -ncmoed -devd -ngld
            """
        )
    ): DRAFT,
    ("--mmproj", "-mm", "--mmproj-url", "-mmu", "--media-path", "--image", "--audio"): (
        "pictures and sounds aren't read here"
    ),
    (
        "--tools",
        "--tools-runtime",
        "--mcp-servers-config",
        "--mcp-servers-json",
        "--agent",
        "-ag",
    ): ("tools aren't run here: who asks runs them"),
    ("--ui-mcp-proxy", "--webui-mcp-proxy"): "the server asks no other servers",
    ("--ssl-key-file", "--ssl-cert-file"): "put a reverse proxy before it; see docs/server.md",
    ("--path", "--api-prefix"): "put a reverse proxy before it; see docs/server.md",
    ("--system-prompt", "-sys"): "use --preference, or a system message in each request",
    ("--prompt", "-p", "--file", "-f", "--binary-file", "-bf"): "use amulet-local generate",
    (
        *("--grammar", "--grammar-file", "--json-schema", "-j", "--json-schema-file", "-jf"),
        *("--reverse-prompt", "-r", "--logit-bias", "-l"),
    ): "send it with each request; see docs/server.md",
    (
        "--reasoning-budget",
        "--reasoning-budget-message",
    ): "use --reasoning off, or -n for all of it",
    ("--reasoning-effort",): 'use --chat-template-kwargs \'{"reasoning_effort": "low"}\'',
    ("--lora-init-without-apply",): "use --lora FILE:0",
    ("--list-devices",): "use amulet-local doctor",
    ("--cache-list", "-cl"): "use amulet-local models",
    ("--completion-bash",): "use amulet-local --show-completion",
    ("--no-mmap",): "use --load-mode none",
    ("--mlock",): "use --load-mode mlock",
    (
        "--override-kv",
        "--override-tensor",
        "-ot",
        "--cpu-moe",
        "-cmoe",
        "--n-cpu-moe",
        "-ncmoe",
        "--n-cpu-ffn",
        "-ncffn",
    ): ("how a model is laid out can't be changed here; use -ngl"),
    ("--rpc", "--device", "-dev"): "use -mg and -sm to choose GPUs",
    ("--models-preset", "--models-max", "--no-models-autoload"): (
        "use -m once for each model, or --models-dir, and --memory"
    ),
    (
        *("--rope-scaling", "--rope-scale", "--rope-freq-base", "--rope-freq-scale"),
        *(
            "--yarn-orig-ctx",
            "--yarn-ext-factor",
            "--yarn-attn-factor",
            "--yarn-beta-slow",
            "--yarn-beta-fast",
        ),
    ): "the model's own rotary scaling is used; convert the model with another one",
    ("--samplers", "--sampler-seq", "--sampling-seq"): (
        "samplers have llama.cpp's order; turn one off by its neutral value, such as --top-k 0"
    ),
    (
        "--top-nsigma",
        "--top-n-sigma",
        "--dynatemp-range",
        "--dynatemp-exp",
        "--adaptive-target",
        "--adaptive-decay",
    ): ("there is no such sampler here; use --min-p"),
}
"""What to do instead of what they ask for, in one sentence."""

_SHOWN = _words(
    """
    -co --color --no-display-prompt --display-prompt --show-timings --no-show-timings -mli
    --multiline-input --ignore-errors
    """
)
_ONE_ANSWER = _words("-no-cnv --no-conversation -st --single-turn")
_CONVERSATION = _words("-cnv --conversation -i --interactive -if --interactive-first")
FOR_ONE_ANSWER: Mapping[str, str | None] = {
    **dict.fromkeys((*_SHOWN, *_ONE_ANSWER)),
    **dict.fromkeys(_CONVERSATION, "a conversation is `amulet-local chat`"),
}
"""llama-cli's flags where one answer is asked for -> what to do instead, None for nothing."""
FOR_A_CHAT: Mapping[str, str | None] = {
    **dict.fromkeys((*_SHOWN, *_CONVERSATION)),
    **dict.fromkeys(_ONE_ANSWER, "one answer is `amulet-local generate`"),
}
"""The same in a chat."""


_BY_ITSELF = frozenset(_words("-t --threads -tb --threads-batch -np --parallel"))
"""Flags that llama-server has at -1 where it chooses itself, as is done here without them."""
_OF_DRAFTS = ("--spec-", "--no-spec-")
_PRESETS = ("-default", "-spec")
_ONCE_ALONE = frozenset(_words("-fa --flash-attn"))
_ESCAPES = frozenset(_words("-e --escape"))
_NO_ESCAPES = "a backslash in a text stays one; in bash $'two\\nlines' are two lines"
_OF_THE_HUB = frozenset(_words("--hf-repo -hf -hfr"))
_ON_THE_HUB = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def without_others(
    args: Sequence[str], valued: Iterable[str], of_cli: Mapping[str, str | None] | None = None
) -> tuple[list[str], list[str]]:
    """A command line without the flags of llama-server that have nothing to do here.

    Args:
        args: as typed.
        valued: flags that are taken here and have a value, which may look like any flag.
        of_cli: flags of llama-cli -> what to do instead, None for nothing.

    Returns:
        The rest, and the flags that were left out because they have no effect.

    Raises:
        typer.BadParameter: one asks for what has to be asked for otherwise.
    """
    instead = {flag: text for flags, text in INSTEAD.items() for flag in flags}
    instead |= {flag: text for flag, text in (of_cli or {}).items() if text is not None}
    already = ALREADY.union(flag for flag, text in (of_cli or {}).items() if text is None)
    has_value = frozenset(valued)
    kept: list[str] = []
    ignored: list[str] = []
    rest = iter(_with_values(args))
    for word in rest:
        flag, equals, _ = word.partition("=")
        if flag in has_value:
            value = [] if equals else [one for one in (next(rest, None),) if one is not None]
            if flag not in _BY_ITSELF or [*word.split("=", 1), *value][1:] != ["-1"]:
                kept += [word, *value]
        elif flag in instead or flag.startswith(_OF_DRAFTS) or flag.endswith("-draft"):
            named = word[len(flag) + 1 :] if equals else next(rest, "")
            said = instead.get(flag, DRAFT)
            if flag in _OF_THE_HUB and _ON_THE_HUB.fullmatch(named):
                said = said.replace("ORG/REPOSITORY:TYPE", named)
            raise typer.BadParameter(f"{flag}: {said}")
        elif flag.endswith(_PRESETS):
            raise typer.BadParameter(f"{flag}: {DOWNLOADS}")
        elif flag in NO_EFFECT:
            ignored.append(flag)
            if NO_EFFECT[flag] and not equals:
                next(rest, None)
        elif flag in _ESCAPES and any("\\" in one for one in args):
            raise typer.BadParameter(f"{flag}: {_NO_ESCAPES}")
        elif word not in already:
            kept.append(word)
    return kept, ignored


def _with_values(args: Sequence[str]) -> list[str]:
    """The same where a flag stands alone that had no value in former versions of llama.cpp."""
    words: list[str] = []
    for place, word in enumerate(args):
        words.append(word)
        is_alone = place + 1 == len(args) or args[place + 1].startswith("-")
        if word in _ONCE_ALONE and is_alone:
            words.append("on")
    return words


def is_others_flag(flag: str) -> bool:
    """Whether llama-server or llama-cli has a flag that no command here has."""
    is_instead = any(flag in flags for flags in INSTEAD)
    return is_instead or flag in ALREADY or flag in NO_EFFECT or flag in FOR_A_CHAT


def asks_for_a_chat(args: Iterable[str]) -> bool:
    """Whether a command line for llama-cli asks for a conversation."""
    return not set(_CONVERSATION).isdisjoint(args)


class LlamaServerCommand(HelpCommand):
    """A command that takes llama-server's command lines."""

    of_cli: Mapping[str, str | None] | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read a command line."""
        valued = [
            flag
            for param in self.params
            if param.param_type_name == "option" and not getattr(param, "is_flag", False)
            for flag in param.opts
        ]
        kept, ignored = without_others(args, valued, self.of_cli)
        if ignored and not ctx.resilient_parsing and not _is_said():
            note(f"without effect here: {', '.join(ignored)}")
        return super().parse_args(ctx, kept)


def _is_said() -> bool:
    """Whether another process, which this one works for, has read the same command line."""
    from amulet_local.loading.isolated import is_isolated

    return is_isolated()


class LlamaCliCommand(LlamaServerCommand):
    """A command that takes llama-cli's command lines for one answer."""

    of_cli = FOR_ONE_ANSWER


class LlamaCliChat(LlamaServerCommand):
    """A command that takes llama-cli's command lines for a conversation."""

    of_cli = FOR_A_CHAT
