"""Whatever the OpenAPI document allows, and what it doesn't: no request makes a 500."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import requests
import schemathesis

from tests.server.conftest import Server


def survives(server: Server, n_examples: int) -> None:
    """Ask for generated things; the server lives and never answers 500."""
    config = schemathesis.Config.from_dict({"generation": {"mode": "all"}})
    schema = schemathesis.openapi.from_dict(
        server.client.get("/openapi.json").json(), config=config
    )
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        seen.add(operation.path)

        @hypothesis.settings(
            max_examples=n_examples,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.seed(0)
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            if isinstance(case.body, dict):  # what is allowed may be long
                case.body |= {"max_tokens": 2, "n": 1} if "messages" in case.body else {}
                case.body |= {"max_tokens": 2, "n": 1} if "prompt" in case.body else {}
            response = requests.request(**case.as_transport_kwargs(base_url=server.url), timeout=60)
            assert response.status_code < 500 or response.status_code in (501, 503), response.text

        ask()
    assert {"/v1/chat/completions", "/v1/completions", "/props", "/v1/amulet/control"} <= seen
    assert server.chat().status_code == 200


@pytest.mark.filterwarnings("ignore")
def test_no_generated_request_makes_a_500(server: Server) -> None:
    survives(server, 12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_of_many_makes_a_500(server: Server) -> None:
    survives(server, 400)
