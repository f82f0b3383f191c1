"""A page of HTML that stands alone: its frame, how foreign text gets into it, and what pages share.

Knows nothing about what a page shows. The page asks nothing of any network: its policy forbids
whatever isn't its own style and its own script, both named by their digests. Foreign text is
hostile: it goes through `foreign`, which escapes it and makes characters visible that act on their
surroundings.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources

from amulet_local.common.readable import visible

SHARED_ASSETS = ("markdown.js", "markdown.css")  # they show an answer as Markdown


def document(title: str, body: str, *, style: str, script: str = "") -> str:
    """The page, as text to be written in UTF-8.

    Args:
        title: any text.
        body: markup.
        style, script: the page's own; without a script, which is a module, none may run.
    """
    policy = ["default-src 'none'", f"style-src '{_digest(style)}'"]
    if script:
        policy.append(f"script-src '{_digest(script)}'")
    policy += ["base-uri 'none'", "form-action 'none'"]
    end = f'\n<script type="module">{script}</script>' if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{foreign(title)}</title>
<style>{style}</style>
</head>
<body>
{body}{end}
</body>
</html>
"""


def foreign(text: str) -> str:
    """Foreign text for markup, between tags or in quotes."""
    return escape(visible(text), quote=True)


def shared_asset(name: str) -> str:
    """The text of one of SHARED_ASSETS."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """The source expression of an inline style or script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
