"""Which requests may have input of the dearer kinds."""

import msgspec
import pytest

from apikeyrouter.application.intake import Wish, order
from apikeyrouter.domain.objectives import policy_of


@pytest.mark.parametrize(
    ("part", "needs"),
    [
        ({"type": "text", "text": 'about "image_url" and "input_audio"'}, ()),
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, ("vision",)),
        ({"type": "input_image", "image_url": "https://example.org/a.png"}, ("vision",)),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, ("audio",)),
    ],
)
def test_a_body_shows_what_it_holds(part, needs):
    """Pictures and sound are seen by the names of their parts, and not in text that speaks of them."""
    body = msgspec.json.encode({"messages": [{"role": "user", "content": [part]}], "audio": None})
    wish = Wish(operation="chat", model="m", needs=("tools",))
    assert order(wish, policy_of(None), body).facts.needs == ("tools", *needs)
