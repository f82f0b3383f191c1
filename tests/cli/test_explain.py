"""`explain` on the embedded model, and what it shows of hostile text."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from amulet_local import Engine
from amulet_local.cli.answering import generation_json
from amulet_local.cli.columns import cells
from amulet_local.cli.explain import explanation_json, kl_strip, table, totals_line
from amulet_local.cli.json_format import FORMAT, answer_schema
from amulet_local.common.results import Alternative, Generation, TokenTrace
from amulet_local.explanation.explanation import Explanation, explain
from amulet_local.llama.vocabulary import Vocabulary
from tests.cli.conftest import CallCli
from tests.cli.running import OnTerminal, Outcome, run
from tests.explained import traced_text

pytestmark = pytest.mark.usefixtures("tiny_by_default")

ASK = ("explain", "How do I sleep better?", "--preference", "creative", "--preset", "strong")
SHORT = ("-n", "12", "--no-watch")  # which has much to say of what the tiny model says
SGR = r"\x1b\[[\d;]*m"
HOSTILE = '</script>"\x1b[31m\x1b]0;title\x07\u202e \r\n\t\x00 🦥 \x9b2J'


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "page.html"
    path.write_text("an old page")
    return path


@pytest.fixture(scope="module")
def as_json(page_file: Path) -> dict[str, Any]:
    """An answer as JSON, with a page written."""
    outcome = run(*ASK, *SHORT, "--alternatives", "2", "--json", "--html", page_file)
    assert outcome.code == 3, outcome
    assert outcome.err == (
        f"the page is in {page_file}\n"
        "the answer was cut after 12 tokens; --predict or --ctx-size allows more\n"
    )
    result: dict[str, Any] = json.loads(outcome.out)
    return result


@pytest.fixture(scope="module")
def piped() -> Outcome:
    """The same as text into a pipe."""
    outcome = run(*ASK, *SHORT)
    assert outcome.code == 3, outcome
    return outcome


@pytest.fixture(scope="module")
def vocabulary(tiny_engine: Engine) -> Vocabulary:
    return tiny_engine.model.vocabulary


@pytest.fixture(scope="module")
def hostile(vocabulary: Vocabulary) -> Explanation:
    answer = traced_text(vocabulary, HOSTILE, preferences=(HOSTILE, "日本語の長い長い名前"))
    return explain(answer, vocabulary)


def test_json_is_the_generation_with_its_trace_and_totals(as_json: dict[str, Any]) -> None:
    assert set(as_json) == {field.name for field in dataclasses.fields(Generation)} | {
        *("totals", "model", "settings", "format")
    }
    assert set(as_json["totals"]) == {"margins", "fluency", "kl", "scale"}
    assert len(as_json["trace"]) == len(as_json["token_ids"])
    for item in as_json["trace"]:
        assert set(item) == {field.name for field in dataclasses.fields(TokenTrace)}
        for top in (item["top_plain"], *item["top_preferences"], item["top_realigned"]):
            assert len(top) == 2
            assert set(top[0]) == {field.name for field in dataclasses.fields(Alternative)}
    plain = [item["plain"] for item in as_json["trace"]]
    assert as_json["totals"]["fluency"] == pytest.approx(math.fsum(plain) / len(plain))


def test_json_has_null_where_a_logarithm_is_infinite(vocabulary: Vocabulary) -> None:
    answer = traced_text(vocabulary, "one")
    trace = tuple(dataclasses.replace(item, plain=-math.inf) for item in answer.trace or ())
    values = explanation_json(
        explain(dataclasses.replace(answer, trace=trace), vocabulary),
        generation_json(dataclasses.replace(answer, trace=trace)),
    )
    read = json.loads(json.dumps(values, allow_nan=False))
    assert read["trace"][0]["plain"] is None
    whole = {**read, "format": FORMAT, "model": {"name": "a", "path": "b"}, "settings": {}}
    jsonschema_rs.validator_for(answer_schema()).validate(whole)
    assert read["totals"]["fluency"] is None


def test_the_page_replaces_an_older_one(as_json: dict[str, Any], page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.count(' data-i="') == len(as_json["trace"])
    assert "How do I sleep better?" in text


def test_a_pipe_gets_the_answer_and_a_table_without_colours(
    piped: Outcome, as_json: dict[str, Any]
) -> None:
    assert "\x1b" not in piped.out
    assert piped.out.startswith(as_json["text"] + "\n\n")
    rows = re.findall(r"^ *(\d+)  .*?(x[\d.,e-]+) ", piped.out, re.MULTILINE)
    assert sorted(int(place) for place, _ in rows) == list(range(1, len(as_json["trace"]) + 1))
    for column in ("plain", "creative", "realigned", "moved", "KL", "scale", "plain favourite"):
        assert f"  {column}" in piped.out
    totals, applied = as_json["totals"], as_json["applied"]
    scales = f"{applied['lowest_scale']:.3g} to {applied['highest_scale']:.3g}"
    assert (
        f"margin {totals['margins'][0]:+.3f} · fluency {totals['fluency']:.3f} · "
        f"KL {totals['kl']:.3f} nats per token · mean scale {totals['scale']:.3g} ({scales})\n"
    ) in piped.out


def test_a_terminal_gets_colours_and_nothing_else_that_acts(
    on_terminal: Callable[..., OnTerminal], as_json: dict[str, Any]
) -> None:
    terminal = on_terminal(*ASK, *SHORT)
    assert terminal.finish() == 3
    shown = terminal.text.split("\r")[-1]
    assert re.search(SGR, shown)
    assert "\x1b" not in re.sub(SGR, "", shown)
    assert re.sub(SGR, "", shown).startswith(as_json["text"] + "\n\nlikelier than plain by x1.5")
    for line in shown.split("\n"):  # no colour runs over the end of a line
        assert len(re.findall(SGR, line)) == 2 * line.count("\x1b[0m")


def test_no_color_means_none(on_terminal: Callable[..., OnTerminal]) -> None:
    terminal = on_terminal(*ASK, "-n", "4", "--all", NO_COLOR="1")
    assert terminal.finish() == 3
    assert "\x1b" not in terminal.text
    assert re.findall(r"^ *(\d+)  \S", terminal.text, re.MULTILINE) == ["1", "2", "3", "4"]


def test_hostile_text_is_harmless_in_the_table(hostile: Explanation) -> None:
    text = table(hostile, list(range(len(hostile.tokens))), None)
    assert len(text.splitlines()) == len(hostile.tokens) + 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert '"\\x1b"' in text
    assert '"🦥"' in text


def test_margins_of_a_mix_have_their_names_on_one_safe_line(hostile: Explanation) -> None:
    line = totals_line(hostile)
    assert re.search(r"^margin .+ [+-][\d.]+, 日本語の長い長い名前 [+-][\d.]+ · fluency", line)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


@pytest.mark.parametrize("width", [48, 60, 80, 100, 140])
def test_a_narrow_terminal_has_other_columns_below(hostile: Explanation, width: int) -> None:
    text = table(hostile, list(range(len(hostile.tokens))), width)
    heading, *rows = text.splitlines()
    assert heading.split()[:3] == ["#", "token", "plain"]
    assert max(cells(row) for row in (heading, *rows)) <= width
    assert max(map(cells, kl_strip(hostile, 24).splitlines())) <= 24
    assert {"plain", "realigned", "moved"} <= set(text.split())
    if width == 140:
        assert "plain favourite" in heading


def test_preferences_above_their_columns_are_whole_where_there_is_room(
    hostile: Explanation,
) -> None:
    heading = table(hostile, [0], None).splitlines()[0]
    assert " 日本語の長い長い名前 " in heading
    assert "..." in table(hostile, [0], 80).splitlines()[0]


def test_explain_without_a_preference(call: CallCli) -> None:
    assert "give one with --preference" in call("explain", "Hi").error_line


@pytest.mark.parametrize("method", ["base", "pref", "magic"])
def test_a_method_that_moves_nothing_is_not_explained(call: CallCli, method: str) -> None:
    assert f"'{method}'" in call(*ASK, "--method", method).error_line


@pytest.mark.parametrize("n", ["-1", "101", "1.5"])
def test_a_number_of_alternatives_out_of_range(call: CallCli, n: str) -> None:
    line = call(*ASK, "--alternatives", n).error_line
    assert "--alternatives" in line
    assert "0 to 100" in line


@pytest.mark.parametrize("place", [".", "missing/page.html", ""])
def test_a_page_that_cant_be_written_is_said_before_the_answer(
    call: CallCli, tmp_path: Path, place: str
) -> None:
    path = f"{tmp_path}/{place}" if place else ""
    assert "can't be written" in call(*ASK, "--html", path).error_line
