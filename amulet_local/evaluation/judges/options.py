"""Which judge: a model on this machine, or an endpoint. Every limit is checked here."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.base import Positive, StrictParams


class JudgeOptions(StrictParams):
    """What a judge is made with.

    Attributes:
        model: a GGUF file or a model's name; with `base_url`, the model's name there.
        base_url: of an OpenAI-compatible endpoint, e.g. "http://127.0.0.1:8080/v1"; None judges
            with a model on this machine.
        api_key_env: name of the environment variable that holds the endpoint's key; None sends
            none.
        timeout_seconds: how long one answer of the endpoint may take.
        max_retries: how often a request that failed for a passing reason is sent again.
        prompt_file: prompts to use instead of the package's own, in the same form.
        n_ctx: context of a local judge, in tokens.
        n_threads, n_gpu_layers: of a local judge, as in RuntimeParams.

    Raises:
        InvalidParameterError: a value is out of range, or the address isn't one that can be used.
    """

    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    timeout_seconds: Annotated[Positive, Field(le=3600)] = 120.0
    max_retries: Annotated[int, Field(ge=0, le=20)] = 5
    prompt_file: Path | None = None
    n_ctx: Annotated[int, Field(ge=256, le=2**24)] = 4096
    n_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    n_gpu_layers: Annotated[int, Field(ge=-1, le=100_000)] | None = None

    def _check_together(self) -> None:
        if self.base_url is None:
            if self.api_key_env is not None:
                raise InvalidParameterError(
                    "api_key_env is for an endpoint, and base_url isn't set"
                )
            return
        try:
            parts = urlsplit(self.base_url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise InvalidParameterError(
                f"base_url has to look like http://127.0.0.1:8080/v1, got {self.base_url[:80]!r}"
            )
        if parts.username or parts.password:
            raise InvalidParameterError("base_url can't hold a user or password: use api_key_env")
        if self.api_key_env and parts.scheme == "http" and not _is_this_machine(host):
            raise InvalidParameterError(
                f"an API key would go to {host} unencrypted: use https in base_url"
            )


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
