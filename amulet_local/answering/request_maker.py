"""From what a caller of the engine says to a checked request: names, texts and prompts.

Knows nothing about rows or about who may use the engine when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from amulet_local.answering.ask import Ask, AskScore, AskTokens, check_names
from amulet_local.answering.beam_search import check_beam_request
from amulet_local.answering.request import (
    Request,
    as_list,
    build_request,
    checked_weights,
    choose_method,
    token_ids,
)
from amulet_local.calling.call_grammar import Calling, calling
from amulet_local.calling.tools import Tools, checked_tools
from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.sampler import check_biases
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.choices import Placement, as_known
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.form import Form
from amulet_local.preferences.preference import resolve, wished_form
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.prompts.prompter import Messages, Prompter, Prompts
from amulet_local.steering.methods import DecodingMethod
from amulet_local.steering.presets import Strength, choose_strength
from amulet_local.steering.row_plan import RowPlan


class _Prepared(NamedTuple):
    """What is asked for by name, looked up, and the prompts that it makes.

    Attributes:
        method, strength: how it is answered.
        plan: which rows there are.
        labels: what results call the preferences.
        form: the form that they ask for.
        tools: what may be called.
        prompts: one for each row.
    """

    method: DecodingMethod
    strength: Strength
    plan: RowPlan
    labels: list[str]
    form: Form
    tools: Tools | None
    prompts: Prompts


class RequestMaker:
    """Makes the requests of one engine."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompter: Prompter,
        *,
        n_ctx: int,
        own_settings: UserModelSettings,
        warnings: Sequence[str],
    ) -> None:
        """Take note.

        Args:
            n_ctx: most tokens a row can hold.
            own_settings: what the user's settings have for the model.
            warnings: for every result.
        """
        self._vocabulary = vocabulary
        self._prompter = prompter
        self._n_ctx = n_ctx
        self._own_settings = own_settings
        self._warnings = warnings

    def from_messages(
        self,
        messages: Messages | Dialogue,
        ask: Ask,
        *,
        answer: Sequence[int] | None = None,
    ) -> Request:
        """A request of the arguments of `Engine.generate`.

        Args:
            messages: the first of them.
            ask: the others.
            answer: one that is there already and is to be scored; `ask` is an AskScore then.

        Raises:
            As `Engine.generate`.
        """
        check_names(Ask if answer is None else AskScore, ask)
        made = self._prepared(messages, ask)
        sampling, prompts = ask.get("sampling"), made.prompts
        called = None if made.tools is None else _calling(made.tools, prompts, sampling)
        request = build_request(
            made.method,
            prompts.rows,
            plan=made.plan,
            amulet=made.strength.amulet,
            preset=made.strength.preset,
            sampling=sampling,
            n_ctx=self._n_ctx,
            n_answer=1 if answer is None else len(answer),
            trace=ask.get("trace"),
            closing_tag=prompts.closing_tag,
            begun=prompts.begun,
            form=made.form,
            calling=called,
            preferences=made.labels,
            warnings=(*self._warnings, *prompts.notes, *(called.warnings if called else ())),
        )
        return self._checked(request)

    def prompts(self, messages: Messages, ask: Ask) -> list[tuple[int, ...]]:
        """Each row's prompt, however long it is.

        Args:
            messages, ask: as for `from_messages`.

        Raises:
            As `Engine.generate`, but for what only answering needs.
        """
        check_names(Ask, ask)
        return self._prepared(messages, ask).prompts.rows

    def _prepared(self, messages: Messages | Dialogue, ask: Ask) -> _Prepared:
        preferences = resolve(ask.get("preference"), avoid=ask.get("avoid"))
        chosen = choose_method(ask.get("method"), has_preference=bool(preferences))
        strength = choose_strength(
            chosen.name, ask.get("amulet"), ask.get("preset"), own=self._own_settings
        )
        plan = RowPlan.of(chosen, [item.weight for item in preferences])
        instructions = [""] if plan.has_plain else []
        if plan.weights:
            instructions += [item.instruction for item in preferences]
        tools = checked_tools(
            ask.get("tools"), ask.get("tool_choice"), ask.get("parallel_tool_calls")
        )
        prompts = self._prompter.prompts(
            messages,
            instructions,
            system=ask.get("system"),
            placement=as_known(ask.get("placement"), get_args(Placement)) or strength.placement,
            response_prefix=ask.get("response_prefix", ""),
            template_arguments=ask.get("template_arguments"),
            bare=ask.get("bare", False),
            continue_final_message=ask.get("continue_final_message"),
            add_generation_prompt=ask.get("add_generation_prompt", True),
            tools=tools,
        )
        labels = [item.label for item in preferences]
        form = wished_form(preferences)
        return _Prepared(chosen, strength, plan, labels, form, tools, prompts)

    def from_tokens(
        self,
        plain_ids: Sequence[int] | None,
        preference_ids: Sequence[int] | Sequence[Sequence[int]] | None,
        ask: AskTokens,
        *,
        labels: Sequence[str] = (),
        default: str = "paper",
        own: UserModelSettings | None = None,
    ) -> Request:
        """A request of the arguments of `Engine.generate_from_tokens`.

        Args:
            labels: what results call the preferences.
            default: the preset of a caller that gives none, with the strength `own`.

        Raises:
            As `Engine.generate_from_tokens`.
        """
        check_names(AskTokens, ask)
        preference_prompts = self._prompt_list(preference_ids)
        weights = checked_weights(ask.get("weights"), len(preference_prompts))
        chosen = choose_method(ask.get("method"), has_preference=bool(preference_prompts))
        strength = choose_strength(
            chosen.name, ask.get("amulet"), ask.get("preset"), default=default, own=own
        )
        plan = RowPlan.of(chosen, weights)
        prompts = list(preference_prompts) if plan.weights else []
        if plan.has_plain:
            if plain_ids is None:
                raise InvalidParameterError(f"the method {chosen.name!r} needs plain_ids")
            prompts.insert(0, token_ids(plain_ids, self._vocabulary))
        request = build_request(
            chosen,
            prompts,
            plan=plan,
            amulet=strength.amulet,
            preset=strength.preset,
            sampling=ask.get("sampling"),
            n_ctx=self._n_ctx,
            trace=ask.get("trace"),
            preferences=labels,
            warnings=self._warnings,
        )
        return self._checked(request)

    def _checked(self, request: Request) -> Request:
        check_biases(request.sampling, self._vocabulary)
        if request.n_beams > 1:
            check_beam_request(request)
        return request

    def _prompt_list(
        self, ids: Sequence[int] | Sequence[Sequence[int]] | None
    ) -> list[tuple[int, ...]]:
        if ids is None:
            return []
        prompts: list[Any] = as_list(ids)
        if not (prompts and hasattr(prompts[0], "__len__")):
            prompts = [prompts]
        return [token_ids(prompt, self._vocabulary) for prompt in prompts]


def _calling(tools: Tools, prompts: Prompts, sampling: SamplingParams | None) -> Calling:
    """How the tools are called in the answer.

    Raises:
        InvalidParameterError: other options say what the answer is, or a tool's schema is none.
    """
    for name in ("grammar", "ignore_eos"):
        if getattr(sampling, name, None):
            raise InvalidParameterError(f"tools and {name} exclude each other; give only one")
    assert prompts.form is not None
    return calling(
        tools,
        prompts.form,
        closing_tag=prompts.closing_tag,
        reasoning_tags=prompts.reasoning_tags,
        said=None if sampling is None else sampling.json_schema,
    )
