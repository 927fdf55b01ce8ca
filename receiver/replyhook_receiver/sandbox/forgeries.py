"""Reply URLs as somebody would forge them who knows one; for providers that are believed by the URL alone."""

from urllib.parse import urlsplit, urlunsplit


def tampered(url: str, provider: str) -> list[str]:
    """``url`` with a token that was guessed, with half of one, and with this token under another provider's name."""
    parts = urlsplit(url)
    folder, _, token = parts.path.rpartition("/")
    # In the middle: the last character of a base64 text may carry bits that nobody reads.
    middle = len(token) // 2
    guessed = token[:middle] + ("B" if token[middle : middle + 1] == "A" else "A") + token[middle + 1 :]
    paths = [f"{folder}/{guessed}", f"{folder}/{token[:middle]}"]
    if f"/{provider}/" in parts.path:
        other = "useapi" if provider != "useapi" else "aihubmax"
        paths.append(parts.path.replace(f"/{provider}/", f"/{other}/"))
    return [urlunsplit(parts._replace(path=path)) for path in paths]
