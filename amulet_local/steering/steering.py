"""Decides, token by token, how the rows of a generation combine.

Knows nothing about how rows are computed, how a token is drawn, or what a guard does: it mixes the
rows and takes the result through the guards, in their order. Its settings may change between two
tokens; what the guards remember outlives that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.optimizer.candidate_kernels import Which
from amulet_local.optimizer.realigner import Logits, Realigner, Tokens
from amulet_local.optimizer.row_pair import RowPair
from amulet_local.params.amulet import AmuletParams
from amulet_local.preferences.form import ANY_FORM, Form
from amulet_local.steering import guards
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.mix_weights import MixWeights
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.step import Combination, Step
from amulet_local.steering.text_so_far import TextSoFar
from amulet_local.text.json_position import JsonPosition

Prompts = Sequence[Sequence[int]]


class Steering:
    """How the rows of one generation combine.

    Attributes:
        plan: the rows.
        amulet: strength and guards.
        noise: standard deviation of the model's rounding noise in l1 - l0, in logits.
    """

    def __init__(
        self,
        plan: RowPlan,
        amulet: AmuletParams,
        realigner: Realigner,
        *,
        prompts: Prompts = (),
        end_tokens: Iterable[int] = (),
        vocabulary: Vocabulary | None = None,
        json_position: JsonPosition | None = None,
        is_drawn: bool = False,
        form: Form = ANY_FORM,
        begun: str = "",
    ) -> None:
        """Start a generation.

        Args:
            prompts: of each row, as token ids; without them there is no echo guard.
            end_tokens: what the end guard holds back.
            vocabulary: the model's; the echo guard needs it.
            json_position: for an answer that is JSON: only its string values are steered.
            is_drawn: whether tokens are drawn at random.
            form: the form that the preferences ask for.
            begun: what there is of the answer.
        """
        self.plan = plan
        self.amulet = amulet
        self.noise = 0.0
        self._realigner = realigner
        self._weights = MixWeights(plan.weights, amulet)
        self._around = Surroundings(
            amulet=amulet,
            text=TextSoFar(json_position, begun),
            prompts=prompts,
            end_tokens=sorted(end_tokens),
            vocabulary=vocabulary,
            is_drawn=is_drawn,
            form=form,
        )
        self._guards: dict[type[Guard], Guard] = {}
        self._active = self._chosen_guards()
        self._rows: Sequence[Logits] = ()
        self._step: Step | None = None

    def _chosen_guards(self) -> list[Guard]:
        """The guards that are on, in their order; those that were on before with their memory."""
        chosen = []
        for kind in guards.GUARDS:
            if not kind.is_on(self._around):
                continue
            guard = self._guards.get(kind)
            if guard is None:
                guard = self._guards[kind] = kind(self._around)
            else:
                guard.change(self._around)
            chosen.append(guard)
        return chosen

    @property
    def in_reasoning(self) -> bool:
        """Whether the next token is what a thinking model writes to itself."""
        return self._around.text.in_reasoning

    @in_reasoning.setter
    def in_reasoning(self, value: bool) -> None:
        self._around.text.in_reasoning = value

    @property
    def needs_no_plain(self) -> bool:
        """Whether there is a plain row that won't matter any more in this answer."""
        return self.plan.is_pair and any(guard.ends_steering for guard in self._active)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the guards did, those included that are off by now."""
        made = (self._guards[kind] for kind in guards.GUARDS if kind in self._guards)
        return tuple(text for guard in made for text in guard.warnings)

    def change(
        self,
        plan: RowPlan,
        amulet: AmuletParams,
        prompts: Prompts = (),
        form: Form = ANY_FORM,
        *,
        same_rows: bool,
    ) -> None:
        """Go on with other rows, another strength or other guards.

        Args:
            prompts: of each row, without the answer.
            form: the form that the preferences ask for.
            same_rows: whether the rows are those of the same prompts as before.
        """
        self.plan, self.amulet = plan, amulet
        if same_rows:
            self._weights.change(plan.weights, amulet)
        else:
            self._weights = MixWeights(plan.weights, amulet)
        self._around = replace(self._around, amulet=amulet, prompts=prompts, form=form)
        self._active = self._chosen_guards()

    def weights(self) -> tuple[float, ...]:
        """The weights of the next token."""
        return self._weights.now()

    def combine(self, rows: Sequence[Logits]) -> Combination:
        """How to choose the next token.

        Args:
            rows: the logits of every row of the plan; valid until `accept`.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        self._rows = rows
        step = self._step = self._unguarded(rows)
        for guard in self._active:
            guard.begin(step)
        if step.is_settled:
            return step.combination
        refused = [token for guard in self._active for token in guard.refused(step)]
        if refused:
            step.refuse(refused)
        for guard in self._active:
            if step.scale <= 1:
                break
            guard.act(step)
        for guard in self._active:
            guard.observe(step)
        return step.combination

    def _unguarded(self, rows: Sequence[Logits]) -> Step:
        plan, plain = self.plan, rows[0]
        preference, scale, plain_normaliser = plain, 0.0, None
        if plan.weights:
            mixed = rows[plan.has_plain :]
            weights, most = self._weights.now(), self.amulet.max_gain
            mixer = self._realigner.mixer
            preference, plain_normaliser = mixer.mix(plain, mixed, weights, most=most)
            scale = self.amulet.guidance_scale
            if not plan.has_plain:
                plain, scale, plain_normaliser = preference, 1.0, None
        pair = RowPair(self._realigner, plain, preference, plain_normaliser=plain_normaliser)
        return Step(self._realigner, pair, scale, self.noise, bool(plan.weights))

    def likeliest(self) -> int:
        """The token with the largest combined logit; between `combine` and `accept`.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        assert self._step is not None
        return self._step.likeliest()

    def candidates(self, which: Which | None) -> Tokens:
        """What may be chosen, for a sampler: `Realigner.fill_candidates`, as `likeliest`."""
        assert self._step is not None
        return self._step.candidates(which)

    def everything(self) -> Combination:
        """What `combine` started from: the reference, with the tokens that guards refuse.

        Between `combine` and `accept`.
        """
        assert self._step is not None
        reference = self._step.reference.preference
        return Combination(reference, reference, 1.0, None)

    def divergence(self) -> float:
        """KL(what the token is chosen from || combination at scale 1), in nats.

        Between the choice of the token and `accept`.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        assert self._step is not None
        return self._step.divergence()

    def accept(self, token: int, text: str) -> None:
        """Take note of the chosen token and of the text that it completed."""
        self._around.text.push(token, text)
        chosen_from = None if self._step is None or self._step.is_settled else self._step
        for guard in self._active:
            guard.accept(token, chosen_from)
        self._weights.accept(token, self._rows, self._realigner)
        self._rows, self._step = (), None
