"""The sandbox: what a hostile template can't do, and what an honest one can."""

from __future__ import annotations

import threading
import time
import tracemalloc
from datetime import datetime
from typing import Any

import pytest

from amulet_local.common.errors import ChatTemplateError
from amulet_local.prompts.template_budget import Budget, TemplateRunsAwayError
from amulet_local.prompts.template_sandbox import MAX_SOURCE_CHARS, CompiledTemplate, one_line

RAISING_TEXT = "{{ raise_exception(x) }}"


def render(source: str, **variables: Any) -> str:
    return CompiledTemplate(source).render(variables)


def grows(step: str, start: str = "'ab'") -> str:
    return (
        f"{{% set ns = namespace(s={start}) %}}{{% for i in range(90) %}}"
        f"{{% set ns.s = {step} %}}{{% endfor %}}{{{{ ns.s }}}}"
    )


def repeats(body: str, setup: str = "") -> str:
    return f"{setup}{{% for i in range(100000) %}}{body}{{% endfor %}}"


BIG_TEXT = "{% set b = 'a' * 900000 %}"
BIG_LIST = "{% set b = range(100000)|list %}"
BOMBS = {
    "text times number": "{{ 'a' * 1500000000 }}",
    "number times text": "{{ 1500000000 * 'a' }}",
    "list times number": "{{ [1] * 1500000000 }}",
    "nested list times number": "{{ [[1] * 1000] * 100000 }}",
    "power": "{{ 10 ** 10 ** 10 ** 10 ** 10 }}",
    "power in one go": "{{ 2 ** (10 ** 10) }}",
    "product": "{% set n = 2 ** 3000 %}{{ n * n * n }}",
    "nested loops": repeats(repeats("")),
    "nested loops with static text": repeats("x" * 1000),
    "static text in a macro": "{% macro m() %}" + repeats("x" * 1000) + "{% endmacro %}{{ m() }}",
    "loop with a filter that drops all": repeats(
        "{% for j in range(100000) if false %}{% endfor %}"
    ),
    "doubling with +": grows("ns.s + ns.s"),
    "doubling with ~": grows("ns.s ~ ns.s"),
    "doubling with %": grows("'%s%s' % (ns.s, ns.s)"),
    "doubling with % and a mapping": grows("'%(a)s%(a)s' % {'a': ns.s}"),
    "doubling with replace": grows("ns.s.replace('a', ns.s)"),
    "doubling with the replace filter": grows("ns.s|replace('a', ns.s)"),
    "doubling with join": grows("ns.s.join(['a', 'b', 'c'])"),
    "doubling with the join filter": grows("['a', 'b', 'c']|join(ns.s)"),
    "doubling with format": grows("'{}{}'.format(ns.s, ns.s)"),
    "doubling with a set block": (
        "{% set ns = namespace(s='ab') %}{% for i in range(90) %}{% set x %}{{ ns.s }}{{ ns.s }}"
        "{% endset %}{% set ns.s = x %}{% endfor %}"
    ),
    "doubling a list with +": grows("ns.s + ns.s", "[1]"),
    "sharing in lists": grows("[ns.s, ns.s]", "[1]"),
    "sharing in tuples": grows("(ns.s, ns.s)", "[1]"),
    "sharing in dicts": grows("{'a': ns.s, 'b': ns.s}", "[1]"),
    "sharing through dict()": grows("dict(a=ns.s, b=ns.s)", "[1]"),
    "sharing, compared": grows("[ns.s, ns.s] if ns.s == [ns.s, ns.s] else [ns.s, ns.s]", "[1]"),
    "deep nesting": repeats("{% set ns.s = [ns.s] %}", "{% set ns = namespace(s=[]) %}"),
    "percent width": "{{ '%1500000000d' % 1 }}",
    "percent precision": "{{ '%.1500000000f' % 1 }}",
    "percent width in parentheses": "{{ '(%1500000000d)' % 1 }}",
    "percent width behind a nested key": "{{ '%(a(b)c)1500000000d' % {'a(b)c': 1} }}",
    "strip by many characters": "{% set c = 'b' * 400000 ~ 'a' %}"
    + repeats("{% set z = b.strip(c) %}", BIG_TEXT),
    "power of powers": "{{ 10**10**10 }}{{ 2.5 ** 99999 }}",
    "huge numeral": "{{ 0x" + "f" * 200000 + " }}",
    "growing number": grows("ns.s * ns.s", "3"),
    "long sum": "{{ 1" + "+1" * 60000 + " }}",
    "long chain of filters": "{{ 1" + "|string" * 20000 + " }}",
    "long chain of calls": "{{ a" + "()" * 60000 + " }}",
    "deep minus": "{{ " + "- " * 60000 + "1 }}",
    "deep list": "{{ " + "[" * 90000 + " }}",
    "deep macros": "{% macro a() %}" * 3000 + "{% endmacro %}" * 3000,
    "caller in a caller": "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}"
    "{{ m() }}",
    "percent star": "{{ '%*d' % (1500000000, 1) }}",
    "percent through a test": "{{ '%1500000000d' is odd }}",
    "format width": "{{ '{:>1500000000}'.format(1) }}",
    "format nested width": "{{ '{:>{}}'.format(1, 1500000000) }}",
    "center": "{{ 'a'.center(1500000000) }}",
    "ljust": "{{ 'a'.ljust(1500000000) }}",
    "rjust": "{{ 'a'.rjust(1500000000) }}",
    "zfill": "{{ 'a'.zfill(1500000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(1500000000) }}",
    "int to bytes": "{{ (1).to_bytes(1500000000, 'big') }}",
    "center filter": "{{ 'a'|center(1500000000) }}",
    "indent filter": "{{ 'a\nb'|indent(1500000000) }}",
    "indent filter with a text": BIG_TEXT + "{{ 'a\nb\nc'|indent(b) }}",
    "wordwrap filter": "{{ ('a' * 900000)|wordwrap(1, wrapstring='a' * 900000) }}",
    "batch filter": "{{ [1]|batch(1500000000, 'a')|list }}",
    "slice filter": "{{ [1]|slice(1500000000, 'a')|list }}",
    "format filter": "{{ '%1500000000d'|format(1) }}",
    "tojson indent": "{{ [1]|tojson(indent=1500000000) }}",
    "tojson separators": "{{ b|tojson(separators=('a' * 900000, 'a')) }}".join([BIG_LIST, ""]),
    "tojson of deep lists, indented": grows("[ns.s] * 3", "[1]"),
    "round filter": "{{ 1.5|round(1500000000, 'ceil') }}",
    "macro recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "macro recursion, twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}"
    "{% endmacro %}{{ m(40) }}",
    "recursive loop": "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "range": "{{ range(10 ** 30)|list }}",
    "big texts": repeats("{% set z = b[::-1] %}", BIG_TEXT),
    "big texts, upper": repeats("{% set z = b|upper %}", BIG_TEXT),
    "big texts, compared": repeats("{% if b ~ 'c' == b ~ 'd' %}{% endif %}", BIG_TEXT),
    "big texts, searched": repeats("{% if 'c' in b %}{% endif %}", BIG_TEXT),
    "big texts, find": repeats("{% set z = b.find('c') %}", BIG_TEXT),
    "big texts, split": repeats("{% set z = b.split('a') %}", BIG_TEXT),
    "big texts, splitlines": "{{ ('\n' * 900000).splitlines() }}",
    "big texts as a list": BIG_TEXT + "{{ b|list|length }}",
    "big texts, escaped": repeats("{% set z = b|e %}", "{% set b = '&' * 160000 %}"),
    "big lists, sliced": repeats("{% set z = b[1:] %}", BIG_LIST),
    "big lists, counted": repeats("{% set z = b.count(3) %}", BIG_LIST),
    "big lists, summed": repeats("{% set z = b|sum %}", BIG_LIST),
    "big lists, mapped": repeats("{% set z = b|map('string') %}", BIG_LIST),
    "big lists, sorted": repeats("{% set z = b|sort %}", BIG_LIST),
    "big lists, selected": repeats("{% set z = b|select('divisibleby', 3) %}", BIG_LIST),
    "big lists as arguments": repeats("{% set z = '%s'.format(*b) %}", BIG_LIST),
    "big lists, changed": repeats("{% if loop.changed(b) %}{% endif %}", BIG_LIST),
    "big lists, kept": repeats(
        "{% set ns.s = [ns.s, range(100000)|list] %}", "{% set ns = namespace(s=[]) %}"
    ),
    "long attribute path": BIG_LIST + "{{ b|map(attribute='a.' * 9000)|list }}",
    "big number from a text": BIG_TEXT + "{{ ('9' * 900000)|int }}",
    "much source": "{{ a }}" * (MAX_SOURCE_CHARS // 7 + 1),
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "long attribute chain": "{{ a" + ".a" * 20000 + " }}",
    "deep blocks": "{% if a %}" * 2000 + "{% endif %}" * 2000,
    "printing a huge value": "{{ 'a' * 900000 }}" * 20,
}
ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ messages.__class__ }}",
    "{{ (1).__class__ }}",
    "{{ none.__class__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') | list }}",
    "{{ [1] | map('attr', '__class__') | list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{0[__class__]}'.format('') }}",
    "{{ '{a.__class__}'.format_map({'a': ''}) }}",
    "{{ ('{0.__class__}' | string).format('') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner('') }}",
    "{{ lipsum.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace._function }}",
    "{{ range.__self__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m.__call__ }}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{{ namespace(a=1)._Namespace__attrs }}",
    "{{ ''.encode() }}",
    "{{ 'a'.translate({97: 'b' * 10}) }}",
    "{% set x = messages.append(1) %}",
    "{% set x = {}.update(a=1) %}",
    "{% set x = {'a': 1}.pop('a') %}",
    "{% include 'a' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends 'a' %}",
    "{% block a %}{% endblock %}",
    "{% autoescape true %}{% endautoescape %}",
    "{{ 'a'('b') }}",
    "{{ messages() }}",
    "{{ [].__add__ }}",
    "{% set x.y = 1 %}",
]


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.lengthy
def test_a_bomb_ends_in_an_error_within_bounds_of_time_and_memory(source: str) -> None:
    start = time.thread_time()
    with pytest.raises(ChatTemplateError) as caught:
        render(source)
    assert time.thread_time() - start < 4  # a tenth of that here; slow machines may be shared
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "name", ["text times number", "sharing in lists", "big texts, split", "big lists, kept"]
)
@pytest.mark.lengthy
def test_a_bomb_takes_tens_of_megabytes_at_most(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ChatTemplateError):
            render(BOMBS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize("source", ESCAPES)
def test_an_escape_attempt_is_an_error(source: str) -> None:
    with pytest.raises(ChatTemplateError):
        render(source, messages=[{"role": "user", "content": "a"}])


def test_output_may_be_as_long_as_the_input_needs() -> None:
    text = "a" * 3_000_000
    assert render("{% for m in messages %}{{ m.content|trim }}{% endfor %}", messages=[
        {"content": text}
    ]) == text  # fmt: skip


def test_a_long_conversation_renders() -> None:
    messages = [{"role": "user", "content": f"turn {i} " + "word " * 40} for i in range(2000)]
    source = (
        "{% for m in messages %}{% if loop.first or messages[loop.index0 - 1].role == 'user' %}"
        "{{ '<' ~ m.role ~ '>' + m.content.strip() }}{% endif %}{% endfor %}"
    )
    assert render(source, messages=messages).count("<user>") == 2000


def test_errors_do_not_outlive_a_render() -> None:
    template = CompiledTemplate("{% for i in range(n) %}{% for j in range(n) %}{% endfor %}"
                                "{% endfor %}done")  # fmt: skip
    with pytest.raises(ChatTemplateError):
        template.render({"n": 90000})
    assert template.render({"n": 3}) == "done"


@pytest.mark.lengthy
def test_threads_share_a_template_and_not_a_budget() -> None:
    template = CompiledTemplate(
        "{% for i in range(n) %}{% set x = i ~ word %}{% endfor %}{{ word }}"
    )
    results: dict[int, str] = {}

    def work(number: int) -> None:
        results[number] = template.render({"n": 60000, "word": f"w{number}"})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # one budget for all eight would have run out
    assert results == {number: f"w{number}" for number in range(8)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ messages|tojson }}", '[{"a": "<ü> & \'"}]'),
        ("{{ messages|tojson(indent=1) }}", '[\n {\n  "a": "<ü> & \'"\n }\n]'),
        ("{{ messages|tojson(ensure_ascii=true) }}", '[{"a": "<\\u00fc> & \'"}]'),
        ("{{ {'b': 1, 'a': 2}|tojson(sort_keys=true, separators=(',', ':')) }}", '{"a":2,"b":1}'),
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        ("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}"
         "{% endif %}{{ i }}{% endfor %}", "02"),
        ("{% for i in [1, 2] %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}", "12"),
        ("{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}"
         "{{ ns.a }}", "4"),
        ("{{ 'a</think>b'.split('</think>')[-1] }}", "b"),
        ("{{ 'a</think>b'.split('</think>')[0].rstrip('\n').split('<think>')[-1] }}", "a"),
        ("{{ messages[::-1][0].a is string }}{{ messages[0:1]|length }}", "True1"),
        ("{{ messages|selectattr('a', 'defined')|map(attribute='a')|join('|')|upper }}", "<Ü> & '"),
        ("{% if messages[0]['b'] is defined %}x{% else %}y{% endif %}{{ messages[0].b }}", "y"),
        ("{% macro m(x, y='d') %}{{ x ~ y }}{% endmacro %}{{ m('c') }}{{ m(1, y=2) }}", "cd12"),
        ("{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{% endcall %}", "[x]"),
        ("{% filter upper %}a{% endfilter %}{% set x %}b{% endset %}{{ x }}", "Ab"),
        ("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "a1b2"),
        ("{% for k, v in {'b': 1, 'a': 2}|dictsort %}{{ k }}{{ v }}{% endfor %}", "a2b1"),
        ("{{ {'a': 1}.get('b', 'x') }}{{ {'a': 1}.keys()|list }}", "x['a']"),
        ("{{ '%(a)s (100%%)' % {'a': 1} }}{{ 'xay'.strip('xy') }}", "1 (100%)a"),
        ("{{ '%s-%d' % ('a', 2) }}{{ '{:02d}.{}'.format(3, 'x') }}", "a-203.x"),
        ("{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is not number else x }}"
         "{% endfor %}", "123"),
        ("{% for i in [1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.last }}{% endfor %}",
         "aFalsebTrue"),
        ("{{ [3, 1, 2]|sort|join }}{{ [1, 2]|sum }}{{ 2.567|round(1) }}{{ '12'|int + 1 }}",
         "12332.613"),
        ("{{ undefined_name }}{{ undefined_name is defined }}{{ 'a' in messages[0] }}",
         "FalseTrue"),
        ("{{ 'a\nb'|indent(2) }}", "a\n  b"),
        ("{% with a = 1, b = 2 %}{{ a < b < 3 }}{{ a in [b, 1] }}{% endwith %}", "TrueTrue"),
        ("{{ '<b>'|safe ~ '<' }}{{ '<'|e }}", "<b><&lt;"),
    ],
)  # fmt: skip
def test_what_templates_use_works_as_in_transformers(source: str, expected: str) -> None:
    assert render(source, messages=[{"a": "<ü> & '"}]) == expected


def test_the_time_is_the_callers() -> None:
    template = CompiledTemplate("{{ strftime_now('%d %b %Y') }}")
    assert template.render({}, now=datetime(2024, 7, 26)) == "26 Jul 2024"
    assert template.render({}) == datetime.now().strftime("%d %b %Y")


def test_a_refusal_shows_the_templates_message_on_one_bounded_line() -> None:
    with pytest.raises(ChatTemplateError) as caught:
        render(RAISING_TEXT, x="roles must\nalternate\x1b[31m " + "a" * 5000)
    message = str(caught.value)
    assert "roles must\\nalternate\\x1b[31m" in message
    assert len(message) < 400


@pytest.mark.parametrize("source", ["{{ a", "{% if %}", "{% nothing %}", "{{ a|nothing }}"])
def test_a_syntax_error_names_its_line(source: str) -> None:
    with pytest.raises(ChatTemplateError, match="line 2"):
        CompiledTemplate("\n" + source)


@pytest.mark.parametrize("source", ["{{ 1 // 0 }}", "{{ 'a' + 1 }}", "{{ a.b.c }}", "{{ [] < 1 }}"])
def test_a_failing_expression_is_a_template_error(source: str) -> None:
    with pytest.raises(ChatTemplateError, match="the chat template failed"):
        render(source)


def test_one_line_keeps_printable_text() -> None:
    assert one_line("nö ✓") == "nö ✓"
    assert one_line(None) == "no message"


@pytest.mark.parametrize(
    "spend",
    [
        lambda budget: budget.step(2_000_000),
        lambda budget: budget.step(1, 10_000_000),
        lambda budget: budget.output(1_100_000),
        lambda budget: budget.fits(1_100_000),
        lambda budget: budget.items(range(300_000)),
    ],
    ids=["steps", "volume", "output", "text", "list"],
)
def test_each_bound_of_a_render_holds_without_the_others(spend: Any) -> None:
    with pytest.raises(TemplateRunsAwayError):
        spend(Budget({}))
