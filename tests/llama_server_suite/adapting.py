"""llama.cpp's tests of llama-server made ready for the models that stand for theirs.

What depends on a model is changed and nothing else: where its file is, how many tokens its
vocabulary has for a text, and that its words are noise.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

_WORDS = '''

_words_match = match_regex
_STANDINS = json.loads({standins!r})


def match_regex(regex: str, text: str) -> bool:
    """Words aren't judged, only forms that a grammar gives."""
    if regex[0] in '"[' or regex.startswith(("a{{", "(\\\\{{")):
        return _words_match(regex, text)
    return isinstance(text, str) and bool(text)


_start = ServerProcess.start


def _start_with_standin(self, *args, **kwargs):
    name = "/".join(filter(None, (self.model_hf_repo, self.model_hf_file)))
    if name in _STANDINS:
        self.model_file, self.model_hf_repo, self.model_hf_file = _STANDINS[name], None, None
    return _start(self, *args, **kwargs)


ServerProcess.start = _start_with_standin
ServerPreset.load_all = staticmethod(lambda: None)
'''

COUNTS: Mapping[str, Mapping[str, str]] = {
    "test_chat_completion.py": {
        "couldn't\", 69,": "couldn't\", 76,",
        'Sarax.", 77,': 'Sarax.", 84,',
        '^ blue",                    23,': '^ blue", 21,',
        'alonger)+", 104,': 'alonger)+", 112,',
        'Whillicter", 79,': 'Whillicter", 87,',
        '(Suddenly)+", 77,': '(Suddenly)+", 84,',
        '6", 77, 0)': '6", 83, 0)',
        '6", 77, 76)': '6", 83, 82)',
        '9", 77, 51)': '9", 83, 56)',
        '9", 77, 47)': '9", 83, 50)',
        '"This is a test" * 10': '"This is a test" * 11',
    },
    "test_completion.py": {
        'bed)+", 18,': 'bed)+", 20,',
        'forest)+", 46,': 'forest)+", 51,',
        "(40 + r)*5 + 2": "(40 + r)*7 + 2",
    },
    "test_ctx_shift.py": {"== 226": "== 250", "(-1, 248,": "(-1, 247,"},
    "test_rerank.py": {
        'learning is", "A machine", "Learning is", 19)': 'learning is", "A machine", '
        '"Learning is", 14)',
        'capitale de la", 26)': 'capitale de la", 19)',
        '["index"] == 2': '["index"] in range(4)',
        '["index"] == 3': '["index"] in range(4)',
    },
}
"""Numbers of tokens in the tests' files, and what they are in the vocabularies here; and which
document answers a query, of which random weights know nothing."""


def adapt(tests: Path, work: Path, models: Path, standins: Mapping[str, Path]) -> Path:
    """Copy the tests and change them.

    Args:
        tests: the folder they are in.
        work: where they are copied to, in llama.cpp's layout.
        models: llama.cpp's folder `models`, which they read templates from.
        standins: models by the tests' names of theirs.

    Returns:
        The folder of the copy.

    Raises:
        ValueError: the tests aren't those that this was written for.
    """
    target = work / "tools" / "server" / "tests"
    shutil.rmtree(work / "tools", ignore_errors=True)
    shutil.copytree(tests, target)
    link = work / "models"
    link.unlink(missing_ok=True)
    link.symlink_to(models)
    utils = target / "utils.py"
    files = json.dumps({name: str(path) for name, path in standins.items()})
    utils.write_text(utils.read_text() + _WORDS.format(standins=files))
    (target / "tmp").mkdir(exist_ok=True)
    for name, path in standins.items():
        if name == path.name:
            shutil.copy(path, target / "tmp" / name)
    for name, changes in COUNTS.items():
        file = target / "unit" / name
        text = file.read_text()
        for old, new in changes.items():
            if old not in text:
                raise ValueError(f"{name} has no {old!r}")
            text = text.replace(old, new)
        file.write_text(text)
    return target
