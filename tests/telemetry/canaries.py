"""Keys that must never be seen: twenty shapes, as providers issue them and as people mistype them."""

SHAPED = {
    "openai": "sk-Zk3Jq8Wv1Lx9Tn5Rb7Yd2Hm6Fg4Ks0Pc",
    "openai project": "sk-proj-Qw7Er2Ty9Ui4Op1As6Df3Gh8Jk5Lz_Xc-Vb",
    "anthropic": "sk-ant-api03-Mn5Bv8Cx2Za7Sd4Fg1Hj6Kl9Qw3Er",
    "openrouter": "sk-or-v1-9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "gemini": "AIzaSyD9x7Kq2Wm5Rt8Yp1Lc4Vb6Nz3Hf0Jg",
    "groq": "gsk_Tr6Yh3Uj8Ik1Ol5Pq2Aw9Se4Dr7Ft",
    "xai": "xai-Bg5Nh8Mj1Ki4Lo7Pu2Yt6Re9Wq3Za",
    "perplexity": "pplx-7d6c5b4a39281706f5e4d3c2b1a09f8e",
    "hugging face": "hf_QwErTyUiOpAsDfGhJkLzXcVbNm",
    "github": "ghp_1A2b3C4d5E6f7G8h9I0jKlMnOpQr",
    "aws": "AKIAQ7W2E9R4T1Y6U3I8",
    "google oauth": "ya29.a0AfH6SMB-Zx9Cv4Bn1Mq6We3Rt8",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJrZXkifQ.Zk3Jq8Wv1Lx9Tn5Rb7Yd",
}
SHAPELESS = {
    "azure": "0f9e8d7c6b5a49382716051423324150",
    "opaque": "Vt8Zr3Xw6Qk1Lm9Pn4Bj7Hg2Fd5Sc",
    "line end": "Line1Part-of-a-Key\nLine2Part-of-a-Key",
    "unicode": "schlüssel-ключ-鍵-0123456789",
    "quotes": "it's \"quoted\" \\ and 'half' 42%20/+?",
    "tab and nul": "tab\tand\x00nul\x1bescape-0123456789",
    "unicode in quotes": "鍵\"é\"'ü'\"ø\"'ñ'\"å\"'ß'\"ł\"'ż'",
}
ALL = SHAPED | SHAPELESS
assert len(ALL) == 20


def forms(canary):
    """Return the ways in which a canary may stand in output."""
    import json
    from urllib.parse import quote

    return {
        canary,
        json.dumps(canary)[1:-1],
        json.dumps(canary, ensure_ascii=False)[1:-1],
        repr(canary)[1:-1],
        ascii(canary)[1:-1],
        json.dumps(repr(canary)[1:-1])[1:-1],
        quote(canary, safe=""),
    }


def runs_left(canary, output, length=11):
    """Return the runs of a canary, in any form, that are still in an output."""
    return [
        form[at : at + length]
        for form in forms(canary)
        for at in range(len(form) - length + 1)
        if form[at : at + length] in output
    ]
