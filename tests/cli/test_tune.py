"""The command `tune`: what it shows, recommends, keeps and takes out, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local.cli.generate import GenerateOptions
from amulet_local.cli.question import read_options
from amulet_local.cli.tuning_report import advice, described, plot, report_json, report_text
from amulet_local.cli.tuning_report import signal as said
from amulet_local.common.errors import SettingsError
from amulet_local.evaluation import frontier_plot
from amulet_local.evaluation.following import CheckedAnswer, PreferenceCheck
from amulet_local.evaluation.lever import Lever
from amulet_local.evaluation.quality import Quality
from amulet_local.evaluation.recommendation import (
    Preferred,
    Recommendation,
    recommend,
    recommend_checked,
    recommend_preferred,
)
from amulet_local.evaluation.statistics import Estimate
from amulet_local.evaluation.sweep import settings_of
from amulet_local.evaluation.tuning_study import Measurement, SweepPlan
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.preferences.settings_editor import check_model_strength
from amulet_local.preferences.user_settings import UserModelSettings, settings_of_model
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS
from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, TIMEOUT, OnTerminal, environment, run
from tests.gguf_edit import copy_without

QUICK = ("tune", "Why?", "--preference", "concise", "--values", "1.5", "-n", "4")
LONG = ("tune", "--preference", "concise", "-n", "8")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own configuration folder, empty."""
    folder = tmp_path / "config"
    folder.mkdir()
    monkeypatch.setenv("AMULET_CONFIG", str(folder))
    return folder


@pytest.fixture
def measurement() -> Measurement:
    """Four settings, two preferences, ten questions; the strongest breaks half of its answers."""
    plan = SweepPlan(
        settings=settings_of("kl", (0.4, 0.8)),
        preferences=(*resolve("concise"), Preference(text="like \x1b[31m a very long wish")),
        questions=tuple("abcdefghij"),
        max_tokens=8,
    )
    result = Measurement(
        plan=plan, noise=0.1, lever=Lever(mean_square=0.04, mean_size=0.15, n_steps=9)
    )
    for number, setting in enumerate(plan.settings):
        for preference in plan.preferences:
            sound = Quality(
                n_tokens=8,
                margin=0.1 * number,
                fluency=-0.7 - 0.2 * number,
                loops=False,
                falls_apart=False,
                recites=False,
                stops_short=False,
            )
            broken = replace(sound, recites=True, loops=setting.value is None)
            half = setting is plan.settings[-1]
            result.answers[setting.name, preference.label] = [sound] * 5 + [
                broken if half else sound
            ] * 5
    return result


@pytest.fixture
def chosen(measurement: Measurement) -> Recommendation:
    settings = measurement.plan.settings
    return recommend(measurement.figures(), reference=settings[0].name, paper=settings[-1].name)


def pretend_matplotlib(monkeypatch: pytest.MonkeyPatch, *, is_there: bool) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        if name == "matplotlib":
            return object() if is_there else None
        return real(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def kept_in(config: Path, model: str = "smollm2") -> UserModelSettings:
    assert config.exists()
    return settings_of_model([model])


def test_it_measures_shows_recommends_and_keeps(config: Path, tiny_path: Path) -> None:
    outcome = run(*QUICK, "--keep", "-m", tiny_path)
    assert outcome.code == 0, outcome
    assert re.search(r"^Answers to 'Why\?', concise:\n  preference prompt +\S", outcome.out, re.M)
    for words in ("preference prompt", "scale 1.5", "paper, no guards", "margin", "Signal: "):
        assert words in outcome.out
    assert re.search(r"^Kept for tiny in .*settings\.toml\.$", outcome.out, re.MULTILINE)
    assert re.findall(r"^\d+ of 3 answers", outcome.err, re.MULTILINE)[-1] == "3 of 3 answers"
    strength = kept_in(config, "tiny").strength
    assert strength["guidance_scale"] in (1, 1.5)
    listed = run("preferences", "list").out
    assert f"tiny  guidance_scale {strength['guidance_scale']:g}" in listed


def test_a_dry_run_keeps_nothing_and_json_has_everything(config: Path, shallow_path: Path) -> None:
    outcome = run(
        *QUICK, "-m", shallow_path, "--sweep", "scale", "--values", "3", "--dry-run", "--json"
    )
    assert outcome.code == 0, outcome
    result = json.loads(outcome.out)
    assert result["complete"] is True
    assert result["stored"] is None
    assert [point["strength"] for point in result["points"]] == [
        {"guidance_scale": 1, "kl_budget": "off"},
        {"guidance_scale": 3, "kl_budget": "off"},
        None,
    ]
    assert result["recommended"]["strength"] in [p["strength"] for p in result["points"][:2]]
    assert result["questions"] == ["Why?"]
    assert result["noise"] > 0
    assert list(config.iterdir()) == []
    assert all(point["sample"] for point in result["points"])


def test_what_few_questions_recommend_is_kept_only_when_told_to(
    call: CallCli, config: Path, tiny_path: Path
) -> None:
    outcome = call(*QUICK, "-m", tiny_path)
    assert outcome.code == 0, outcome
    assert "Recommended: " in outcome.out
    assert "Nothing is kept" in outcome.err
    assert "--keep" in outcome.err
    assert list(config.iterdir()) == []


@pytest.mark.usefixtures("whole_by_default")
def test_what_is_kept_is_replaced_and_taken_out(call: CallCli, config: Path) -> None:
    file = config / "settings.toml"
    file.write_text("# mine\n[models.smollm2]\nguidance_scale = 2 # low\n")
    outcome = run(*QUICK, "--keep")
    assert "in the place of guidance_scale 2." in outcome.out
    assert kept_in(config).guidance_scale in (1, 1.5)
    assert kept_in(config).kl_budget == "off"
    assert "is no longer in" in call("tune", "--reset").out
    assert kept_in(config) == UserModelSettings()
    assert "# mine" in file.read_text()
    assert call("tune", "--reset").out == "No strength is kept for smollm2.\n"
    assert json.loads(call("tune", "--reset", "--json").out) == {"format": 1, "removed": None}


@pytest.mark.usefixtures("tiny_by_default")
def test_a_kept_strength_changes_later_answers(config: Path) -> None:
    def tokens(*flags: str) -> Any:
        arguments = ("generate", "How do I sleep?", "--preference", "creative", "-n", "12")
        return json.loads(run(*arguments, "--json", *flags).out)["token_ids"]

    default, prompted = tokens(), tokens("--method", "pref")
    assert default != prompted
    (config / "settings.toml").write_text("[models.tiny]\nkl_budget = 0\n")
    assert tokens() == prompted
    assert tokens("--preset", DEFAULT_PRESET) == default


@pytest.mark.parametrize(
    ("preset", "flags", "scale", "budget"),
    [
        (None, {"watch": False}, 3.0, 0.7),
        (None, {"kl_budget": 0.2}, 3.0, 0.2),
        (None, {"guidance_scale": 2.0}, 2.0, 0.7),
        (None, {"guidance_scale": 2.0, "kl_budget": 0.2}, 2.0, 0.2),
        ("strong", {"watch": False}, 2.0, None),
        ("strong", {"kl_budget": 0.2}, None, 0.2),
    ],
)
def test_a_flag_comes_before_a_preset_before_what_is_kept(
    config: Path,
    preset: str | None,
    flags: dict[str, Any],
    scale: float | None,
    budget: float | None,
) -> None:
    (config / "settings.toml").write_text("[models.smollm2]\nguidance_scale = 3\nkl_budget = 0.7\n")
    options = GenerateOptions(prompt="Hi", preference=["concise"], preset=preset, strength=flags)
    amulet = read_options(options).amulet
    assert amulet is not None
    paper = PRESETS["paper"].amulet.guidance_scale
    assert amulet.guidance_scale == (paper if scale is None else scale)
    assert amulet.kl_budget == budget


@pytest.mark.usefixtures("tiny_by_default")
def test_ctrl_c_shows_what_there_is_and_keeps_nothing(config: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, *LONG],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while (line := process.stderr.readline()) and not re.match("[1-9]", line):
        pass
    assert line, "it ended before an answer was there"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert re.search(r"Interrupted\s+after\s+\d+\s+of\s+108\s+answers", out)
    assert re.search(r"scale \d\.\d+ +[+-]\d", out)
    assert "Recommended" not in out
    assert list(config.iterdir()) == []


@pytest.mark.usefixtures("tiny_by_default")
def test_progress_is_on_one_line_of_a_terminal(
    config: Path, on_terminal: Callable[..., OnTerminal]
) -> None:
    terminal = on_terminal(*LONG, AMULET_CONFIG=str(config))
    terminal.read_until(r"\r\x1b\[2m\d+ of 108 answers, \d+ (s|min|h) left")
    terminal.press(b"\x03")
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text
    assert list(config.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--values", "0.5,3"],
            "1 to 20 for --sweep scale, not 0.5; those of --sweep kl and target may be",
        ),
        (
            ["--sweep", "kl", "--values", "0.1,-2"],
            "--values are numbers from 0 to 1000 for --sweep kl, not -2",
        ),
        (["-n", "0"], "--predict must be a whole number from 1"),
        (["-n", "2.5"], "--predict"),
        (["-t", "0"], "--threads"),
        (["-fa", "maybe"], "--flash-attn"),
        (["--max-broken", "101"], "--max-broken is a percentage"),
        (["--preference", "concise:0.5"], "without a weight"),
        (["--preference", "no_one"], "no preference is called 'no_one'"),
        (["--questions", "no/such"], "can't read the file of questions 'no/such'"),
        (["", "Why?"], "a QUESTION is empty"),
        (["-m", "no/such.gguf"], "no such file"),
        (["--plot", "a.pdf"], ".png"),
        (["--reset", "-m", "no/such.gguf"], "no such file"),
        (["--check", "regex:x"], "--check is for one preference, and there are 2"),
        (["--preference", "in rhyme", "--check", "regex:("], "is no regular expression"),
        (["--preference", "in rhyme", "--check", "rhyme"], "a check is regex:PATTERN, python:"),
        (["--preference", "in rhyme", "--check", "python:no/such.py"], "can't read no/such.py"),
    ],
)
def test_bad_arguments_end_before_a_model_is_loaded(
    call: CallCli, config: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_matplotlib(monkeypatch, is_there=True)
    assert words in call("tune", *arguments).error_line
    assert list(config.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["Why?", "--questions", "file"],
        ["--sweep", "both"],
        ["--values", "much"],
        ["--reset", "Why?"],
        ["--reset", "--dry-run"],
        ["--reset", "--check", "regex:x"],
    ],
)
def test_wrong_usage_ends_with_2(call: CallCli, config: Path, arguments: list[str]) -> None:
    assert call("tune", *arguments).code == 2


def test_a_mix_is_refused(call: CallCli, config: Path) -> None:
    (config / "settings.toml").write_text("[mixes]\nwork = ['formal', 'concise']\n")
    assert "one preference at a time" in call("tune", "--preference", "work").error_line


def test_a_broken_settings_file_is_said_before_anything_is_measured(
    call: CallCli, config: Path
) -> None:
    (config / "settings.toml").write_text("[model]\n")
    assert (
        "settings.toml, line 1"
        in call("tune", "Why?", "--preference", "in rhyme", "--keep").error_line
    )


def test_a_settings_file_that_cant_be_written_is_said_before_anything_is_measured(
    call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path / "file" / "folder"))
    assert "settings file" in call("tune", "Why?", "--preference", "in rhyme", "--keep").error_line


def test_a_settings_file_that_cant_be_changed_is_said_before_anything_is_measured(
    config: Path,
) -> None:
    (config / "settings.toml").write_text("models = { smollm2 = { kl_budget = 1 } }\n")
    check_model_strength(["smollm2"])
    assert (config / "settings.toml").read_text() == "models = { smollm2 = { kl_budget = 1 } }\n"
    (config / "settings.toml").write_text("[models]\nsmollm2 = 3\n")
    with pytest.raises(SettingsError):
        check_model_strength(["smollm2"])


def test_a_check_is_counted_shown_and_recommended_by(config: Path, shallow_path: Path) -> None:
    """A check that the plain prompt's answers pass is passed by the preference prompt's first."""
    check = config / "check.py"
    check.write_text(
        "def follows(question, answer):\n    return question == 'Why?' and bool(answer)\n"
    )
    outcome = run(*QUICK, "-m", shallow_path, "--check", f"python:{check}", "--json", "--keep")
    made = json.loads(outcome.out)
    assert made["recommended"]["strength"] == {"guidance_scale": 1, "kl_budget": "off"}
    assert (made["recommended"]["n_sound"], made["recommended"]["n_answers"]) == (1, 1)
    for point in made["points"][:2]:
        assert point["follows"] == {"n_sound": 1, "n_unknown": 0, "n_answers": 1}
    assert kept_in(config, "shallow").guidance_scale == 1
    nobody = run(*QUICK, "-m", shallow_path, "--check", "regex:^no answer says so$", "--dry-run")
    assert "No answer follows and isn't broken, so the margin decides." in " ".join(
        nobody.out.split()
    )
    assert re.search(r"^[* ] scale 1\.5 .* 0 of 1$", nobody.out, re.MULTILINE)
    assert re.search(r"^[* ] scale 1\.5 +(no|broken) +\S", nobody.out, re.MULTILINE)


def test_the_report_of_a_check_marks_its_choice_and_fits(measurement: Measurement) -> None:
    check = PreferenceCheck(check=lambda answer: True, name="regex:^- \x1b[2J")
    labels = [item.label for item in measurement.plan.preferences]
    plan = replace(measurement.plan, checks=dict.fromkeys(labels, check))
    checked = replace(measurement, plan=plan)
    for number, setting in enumerate(plan.settings):
        checked.made[setting.name] = [
            CheckedAnswer(
                question="abcdefghij"[9 - n % 10],
                preference=labels[n // 10],
                text=f"- tea {n} \x1b[2J\n- " + "milk " * 40,
                follows=n < 7 * number,
                is_broken=False,
            )
            for n in range(20)
        ]
        checked.samples[setting.name] = f"- tea 9 \x1b[2J\n- {'milk ' * 40}"
    followed = checked.following()
    chosen = recommend_checked(followed, strengths=[item.name for item in plan.settings[:-1]])
    assert chosen is not None
    assert chosen.name == "KL 0.8"
    text = report_text(checked, chosen, "model.gguf")
    assert re.search(r"^\* KL 0\.8 .* 14 of 20$", text, re.MULTILINE)
    assert re.search(r"^  KL 0\.4 +no +- tea 9", text, re.MULTILINE)
    assert "14 of 20, against 0 with" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    narrow = report_text(checked, chosen, "model.gguf", 60)
    assert re.search(r"^\* KL 0\.8 .* 14 of 20$", narrow, re.MULTILINE)
    assert max(map(len, narrow.splitlines())) <= 60
    assert "\x1b" not in text
    assert report_json(checked, chosen)["points"][1]["follows"]["n_sound"] == 7


def estimate(value: float, low: float) -> Estimate:
    return Estimate(value=value, low=low, high=1.0, n=20)


def test_the_report_of_a_judge_says_first_how_far_it_is_to_be_believed(
    measurement: Measurement,
) -> None:
    settings = measurement.plan.settings
    names = [item.name for item in settings]
    shares = dict(zip(names, (estimate(x, x - 0.2) for x in (0.5, 0.8, 0.7, 0.1)), strict=True))
    measurement.preferred = Preferred(judge="j.gguf", agreement=estimate(0.9, 0.7), shares=shares)
    chosen = recommend_preferred(measurement.preferred, strengths=names[:-1])
    assert chosen is not None
    assert chosen.name == "KL 0.4"
    said = " ".join(advice(measurement, chosen).split())
    assert said.startswith("j.gguf gets 0.90 of 20 pairs of known answer right [0.70, 1.00]")
    assert "in 0.80 of 20 [0.60, 1.00], ties half." in said
    text = report_text(measurement, chosen, "model.gguf")
    assert re.search(r"^\* KL 0\.4 .* 0\.80$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80
    assert report_json(measurement, chosen)["judge"]["shares"]["KL 0.4"]["value"] == 0.8


def test_a_judge_that_is_no_better_than_a_coin_leaves_it_to_the_margin(
    measurement: Measurement, chosen: Recommendation
) -> None:
    measurement.preferred = Preferred(judge="j.gguf", agreement=estimate(0.5, 0.3), shares={})
    assert recommend_preferred(measurement.preferred, strengths=["preference prompt"]) is None
    said = " ".join(advice(measurement, chosen).split())
    assert "no better than a coin, so it isn't asked, and the margin decides. Recommended" in said


def test_targets_are_said_as_what_the_presets_do() -> None:
    settings = settings_of("target", (0.12,))
    assert described(settings[1]) == (
        "a target of 0.12 nats a token on average, from guidance scale 1.5 on"
    )


def test_a_judge_that_is_not_there_is_said_before_anything_is_measured(
    call: CallCli, config: Path
) -> None:
    assert "no-such.gguf" in call(*QUICK, "--judge", "no-such.gguf").error_line


def test_a_judge_that_is_no_model_is_said_before_anything_is_measured(
    call: CallCli, config: Path, tiny_path: Path, tmp_path: Path
) -> None:
    judge = tmp_path / "judge.gguf"
    judge.write_bytes(b"GGUF, says its name")
    outcome = call(*QUICK, "-m", tiny_path, "--judge", judge)
    assert "judge.gguf" in outcome.error_line
    assert "answers" not in outcome.err


def test_what_was_measured_is_shown_where_the_judge_gives_no_verdict(
    config: Path, tiny_path: Path, tmp_path: Path
) -> None:
    judge = tmp_path / "mute.gguf"
    copy_without(tiny_path, judge, "tokenizer.chat_template")
    outcome = run(*QUICK, "--keep", "-m", tiny_path, "--judge", judge)
    assert outcome.code == 1
    assert re.search(r"^Answers to 'Why\?', concise:\n  preference prompt +\S", outcome.out, re.M)
    assert "Recommended" not in outcome.out
    said, error = outcome.err.splitlines()[-2:]
    assert "nothing is kept" in said
    assert error.startswith("error: mute.gguf")
    assert list(config.iterdir()) == []


def test_a_plot_needs_its_extra(
    call: CallCli, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_matplotlib(monkeypatch, is_there=False)
    assert "amulet-local[plot]" in call("tune", "--plot", "a.png").error_line


def test_the_report_marks_what_is_recommended_and_fits(
    measurement: Measurement, chosen: Recommendation
) -> None:
    assert chosen.name == "KL 0.4"
    text = report_text(measurement, chosen, "model.gguf")
    assert [line for line in text.splitlines() if line.startswith("* ")] == [
        next(line for line in text.splitlines() if "KL 0.4  " in line)
    ]
    assert re.search(r"paper, no guards +\+0\.300 +-1\.300 +10 of 20 +8 ", text)
    assert "  paper, no guards: 10 loops, 10 recites\n" in text
    assert max(map(len, text.splitlines())) <= 80
    narrow = report_text(measurement, chosen, "model.gguf", 60).splitlines()
    assert max(map(len, narrow)) <= 60
    assert narrow[0].startswith("model.gguf: ")
    assert "\x1b" not in text
    assert text.isascii()
    assert max(map(len, plot(measurement, chosen, 60).splitlines()[:-1])) <= 60
    assert "none of 20 answers broken" in advice(measurement, chosen)


def test_how_much_is_signal_is_said_with_its_numbers(measurement: Measurement) -> None:
    text = " ".join(said(measurement).split())
    assert "differ by 0.2 (" in text
    assert "by 0.1 where" in text
    assert "75% of what a strength amplifies" in text
    assert "25% is the rounding noise" in text
    measurement.lever = Lever(mean_square=0, mean_size=0, n_steps=0)
    assert "changes nothing" in said(measurement)
    measurement.lever = None
    assert said(measurement) == ""


def test_the_json_has_figures_of_every_preference(
    measurement: Measurement, chosen: Recommendation
) -> None:
    result = json.loads(json.dumps(report_json(measurement, chosen), allow_nan=False))
    for point in result["points"]:
        for label in result["preferences"]:
            own = point["by_preference"][label]
            assert own["answers"] == 10
            assert own["margin"] == point["margin"]
    assert result["lever"]["signal_share"] == pytest.approx(0.75)
    assert result["recommended"]["name"] == "KL 0.4"


@pytest.mark.lengthy
def test_a_plot_is_drawn(measurement: Measurement, chosen: Recommendation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` isn't installed")
    for recommended in (chosen, None):
        path = tmp_path / "a.png"
        frontier_plot.write_plot(
            frontier_plot.marks_of(measurement, recommended),
            path,
            title="model.gguf",
            least_fluency=None if recommended is None else recommended.least_fluency,
        )
        assert path.read_bytes().startswith(b"\x89PNG")
        path.unlink()
