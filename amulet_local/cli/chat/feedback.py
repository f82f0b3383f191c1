"""The commands of a chat that a profile learns from: /good, /bad, /better, /like, /fix.

Knows the chat and its profile; how a profile learns is the profile's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amulet_local.cli.chat.remembering import Remembering
from amulet_local.cli.chat.screen import AnswerDisplay
from amulet_local.cli.chat.talk import Chat
from amulet_local.cli.columns import side_by_side
from amulet_local.cli.compare import chosen_width
from amulet_local.cli.terminal import stdout_is_terminal, visible, write
from amulet_local.common.errors import InvalidRequestError
from amulet_local.conversation.conversation_settings import KEEP
from amulet_local.params.sampling import SamplingParams
from amulet_local.profile.feedback import Fact
from amulet_local.profile.listener import Listener, Said, measuring
from amulet_local.profile.pair_choice import Rival, choose_rival
from amulet_local.profile.profile import Profile
from amulet_local.profile.recall import with_memory
from amulet_local.profile.strength import scaled
from amulet_local.steering.presets import adjusted_strength

if TYPE_CHECKING:
    from amulet_local.conversation.conversation import Conversation
    from amulet_local.conversation.conversation_settings import ConversationSettings
    from amulet_local.params.amulet import AmuletParams
    from amulet_local.preferences.preference import Preference
    from amulet_local.prompts.dialogue import Turn

ASK_AFTER = 3
"""Answers between two hints that a pick would tell much."""


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two answers to the last question, the chat's own and another one."""

    own: Turn
    other: Conversation
    rival: Rival
    factor: float


class ChatFeedback:
    """What a chat does with its profile."""

    def __init__(
        self,
        chat: Chat,
        profile: str | None = None,
        *,
        keeps_preference: bool = False,
        keeps_strength: bool = False,
    ) -> None:
        """Take note.

        Args:
            profile: its name; None where the chat has none, so that there is nothing to learn.
            keeps_preference, keeps_strength: whether these were asked for, so that the profile's
                don't take their place.
        """
        self.commands: dict[str, Callable[[str], None]] = {
            "good": lambda argument: self._rate(good=True),
            "bad": lambda argument: self._rate(good=False),
            "better": self._better,
            "like": self._like,
            "fix": self._fix,
            "remember": self._remember,
        }
        self._chat = chat
        self._pair: _Pair | None = None
        self._n_answers = 0
        self._keeps_preference, self._keeps_strength = keeps_preference, keeps_strength
        self._followed = _followed(chat.conversation.settings)
        self._answered_with: tuple[Turn, ConversationSettings] | None = None
        self._listener: Listener | None = None
        if profile is not None:
            self._listener = Listener(
                Profile(profile),
                measuring(chat.engine.log_ratios),
                model=chat.engine.model.path.name,
                origin="chat",
            )
            chat.before_turn, chat.after_turn = self._before_turn, self._after_turn
            chat.takes = Remembering(profile, chat.screen.remark, self._remember).takes

    def _rate(self, *, good: bool) -> None:
        turn = self._last_turn()
        self._learned(self._learner.rated(turn.question, _said(turn), good=good))

    def _better(self, argument: str) -> None:
        if argument:
            self._pick(argument)
            return
        import numpy as np

        chat, turn = self._chat, self._last_turn()
        settings = chat.conversation.settings
        taste = self._learner.taste()
        factor = taste.factor(self._learner.model)
        as_now = self._answered_with is not None and (
            self._answered_with[0] is turn and self._answered_with[1] == settings
        )
        rival = choose_rival(
            taste,
            self._learner.model,
            np.random.default_rng(),
            may_try_strength=as_now and self._follows_strength,
        )
        other = chat.conversation.fork()
        other.set(
            preference=list(rival.preferences) or None,
            avoid=None,
            amulet=self._strength(rival.factor),
        )
        self._show(turn, other)
        if other.turns[-1].answer == turn.answer:
            chat.screen.remark("both answers are the same, so there is nothing to pick")
            return
        self._pair = _Pair(own=turn, other=other, rival=rival, factor=factor)
        chat.screen.remark("/better 1 for the answer before, /better 2 for this one")

    def _show(self, turn: Turn, other: Conversation) -> None:
        """Beside the last answer where there is room, else below it."""
        chat = self._chat
        most = other.settings.sampling.max_tokens
        width = chosen_width(None, 2, total=chat.screen.width, is_terminal=stdout_is_terminal())
        display = AnswerDisplay(chat.screen, lambda line: None)
        stream = other.stream_regenerate(seed=turn.seed, prompt_progress=display.progress)
        if not width:
            chat.screen.dim("--- 2 ---")
            chat.show(stream, display)
            return
        with stream, chat.screen.interrupted_by(stream.cancel):
            generation = display.quietly(stream, "another answer", most)
        write(f"{side_by_side(['1', '2'], width)}\n{side_by_side(['-' * width] * 2, width)}\n")
        texts = [visible(turn.answer.strip()), visible(generation.text.strip())]
        write(side_by_side(texts, width) + "\n")

    def _pick(self, argument: str) -> None:
        turn = self._last_turn()
        pair, chat = self._pair, self._chat
        if argument not in ("1", "2"):
            raise InvalidRequestError("/better shows two answers, /better 1 or /better 2 picks one")
        if pair is None or pair.own is not turn:
            raise InvalidRequestError("there are no two answers to pick from: /better shows them")
        other = pair.other.turns[-1]
        answers = [_said(pair.own), _said(other)]
        strengths = [pair.factor, pair.rival.factor]
        if argument == "2":
            answers.reverse()
            strengths.reverse()
        changed = self._learner.picked(
            pair.own.question,
            *answers,
            strengths=(strengths[0], strengths[1]) if pair.rival.is_strength else None,
        )
        self._pair = None
        if argument == "2":
            settings = chat.conversation.settings
            pair.other.set(**settings.arguments(), on_full=settings.on_full)
            chat.conversation = pair.other
            chat.changed()
        self._learned(changed)

    def _like(self, argument: str) -> None:
        learner, turns = self._learner, self._chat.conversation.turns
        if argument:
            self._learned(learner.liked(turns[-1].question if turns else "", argument))
            return
        turn = self._last_turn()
        self._learned(learner.liked(turn.question, turn.answer))

    def _fix(self, argument: str) -> None:
        from amulet_local.cli.editor import edited

        learner, turn = self._learner, self._last_turn()
        text = argument or edited(turn.answer, ending=".md").strip()
        if text == turn.answer.strip():
            self._chat.screen.remark("nothing was changed")
            return
        self._chat.conversation.revise(text)
        self._chat.changed()
        self._learned(learner.picked(turn.question, Said(text=text), _said(turn), kind="fix"))
        self._propose(turn, text)

    def _propose(self, turn: Turn, after: str) -> None:
        learner, engine = self._learner, self._chat.engine

        def ask(question: str, sampling: SamplingParams) -> str:
            return engine.generate(question, method="base", sampling=sampling).text

        found = learner.guess(ask, turn.question, turn.answer, after)
        if found is not None:
            self._chat.screen.remark(
                f"a guess from your change: {found.text!r}. It counts for nothing until your picks "
                f"say so; `amulet-local profile edit {learner.profile.name}` takes it out"
            )

    def _learned(self, changed: str) -> None:
        """Say what was learned, and follow it unless another preference was asked for."""
        learner = self._learner
        taste = learner.taste()
        if self._follows_mix:
            self._follow(taste.mix, self._strength(taste.factor(learner.model)))
            follows = ", ".join(item.label for item in taste.mix) or "nothing yet"
            changed += f" From here on: {follows}."
        self._chat.screen.remark(changed)

    def _remember(self, argument: str) -> None:
        learner = self._learner
        if not argument:
            raise InvalidRequestError("say what is to be remembered: /remember TEXT")
        number = learner.profile.add(Fact(at=time.time(), origin="chat", text=argument))
        self._chat.screen.remark(
            f"remembered as f{number}; `amulet-local profile forget {learner.profile.name} "
            f"f{number}` forgets it"
        )

    def _before_turn(self, question: str) -> None:
        """Put in what is remembered for a question, and take out what was for the one before."""
        if not self._follows_mix:
            return
        contents = self._learner.profile.contents()
        count = self._chat.engine.model.vocabulary.count
        wanted = with_memory(contents.taste().mix, contents, question, count)
        if wanted != self._chat.conversation.settings.preference:
            self._follow(wanted, self._chat.conversation.settings.amulet)

    def _follow(self, preferences: Sequence[Preference], amulet: AmuletParams | None) -> None:
        conversation = self._chat.conversation
        conversation.set(
            preference=list(preferences) or None,
            amulet=KEEP if amulet == conversation.settings.amulet else amulet,
        )
        self._followed = _followed(conversation.settings)

    @property
    def _follows_mix(self) -> bool:
        """Whether the preference is the profile's to choose."""
        return _followed(self._chat.conversation.settings)[:2] == self._followed[:2] and (
            not self._keeps_preference
        )

    @property
    def _follows_strength(self) -> bool:
        """Whether the strength is the profile's to choose."""
        return not self._keeps_strength and (
            _followed(self._chat.conversation.settings)[2:] == self._followed[2:]
        )

    def _strength(self, factor: float) -> AmuletParams | None:
        """The usual strength times a factor; what was asked for otherwise stays."""
        if not self._follows_strength:
            return self._chat.conversation.settings.amulet
        if factor == 1:
            return None
        own = self._chat.engine.own_settings
        return scaled(adjusted_strength(None, {}, own=own), factor)

    def _after_turn(self) -> None:
        """Take note of what an answer was made with; say where a pick would tell much."""
        import numpy as np

        chat, learner = self._chat, self._learner
        self._answered_with = (chat.conversation.turns[-1], chat.conversation.settings)
        self._n_answers += 1
        if not chat.screen.is_typed or self._n_answers % ASK_AFTER:
            return
        rival = choose_rival(learner.taste(), learner.model, np.random.default_rng())
        if rival.is_worth_asking:
            chat.screen.remark("/better shows another answer: your pick would tell much")

    @property
    def _learner(self) -> Listener:
        if self._listener is None:
            raise InvalidRequestError(
                "there is no profile that could learn from that: `amulet-local profile create "
                "NAME`, then start the chat with --profile NAME"
            )
        return self._listener

    def _last_turn(self) -> Turn:
        _ = self._learner
        turns = self._chat.conversation.turns
        if not turns:
            raise InvalidRequestError("there is no answer yet")
        return turns[-1]


def _followed(settings: ConversationSettings) -> tuple[object, ...]:
    """What a chat's answers follow, and how strongly."""
    return settings.preference, settings.avoid, settings.amulet, settings.preset


def _said(turn: Turn) -> Said:
    return Said(
        text=turn.answer,
        token_ids=() if turn.reasoning else turn.token_ids,
        finished=turn.finish_reason == "stop",
    )
