"""What forms stand on a page, with their fields; and whether a page has anything in it that is none of ours."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote

_IDENT = re.compile(r"(?:job|cb|dlv|ep|key)_[0-9a-z]{26}")
_UNSEEN = re.compile("[\x00\x1b\u200b\u202e\u2066]")


@dataclass
class FoundForm:
    """One form; ``fields`` are what a browser would send of it as it stands, and ``names`` all that it could."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @property
    def kind(self) -> tuple[str, str, tuple[str, ...]]:
        """What it is, whatever it is about."""
        return self.method, kind_of(self.action), tuple(sorted(set(self.names)))

    def encoded(self, **changed: str | None) -> str:
        """What is sent, with fields set to what is encoded already, or left out."""
        plain = {name: quote(value) for name, value in self.fields.items()}
        sent = {**plain, **changed}
        return "&".join(f"{name}={value}" for name, value in sent.items() if value is not None)


def kind_of(path: str) -> str:
    """A path without its ids."""
    return _IDENT.sub("{id}", path)


class Page(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[FoundForm] = []
        self.links: list[str] = []
        self.strange: list[str] = []
        self._form: FoundForm | None = None
        self._select: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._look_for_strange(tag, given)
        if tag == "a" and given.get("href", "").startswith("/"):
            self.links.append(given["href"])
        elif tag == "form":
            self._form = FoundForm(given.get("method", "get").upper(), given["action"])
            self.forms.append(self._form)
        elif self._form is not None:
            self._take(self._form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        if _UNSEEN.search(data):
            self.strange.append(f"unseen letters in {data[:80]!r}")

    def _take(self, form: FoundForm, tag: str, given: dict[str, str]) -> None:
        name = given.get("name") or (self._select if tag == "option" else None)
        if tag == "select":
            self._select = name
        if name is None or tag not in ("input", "select", "option", "textarea", "button"):
            return
        form.names.append(name)
        if tag == "select" or (given.get("type") == "checkbox" and "checked" not in given):
            return
        if tag != "option" or "selected" in given:
            form.fields[name] = given.get("value", "")

    def _look_for_strange(self, tag: str, given: dict[str, str]) -> None:
        if tag in ("script", "img", "iframe", "object", "embed") and not given.get("src", "").startswith("/"):
            self.strange.append(f"<{tag} {given}>")
        if any(name.startswith("on") or name == "style" for name in given):
            self.strange.append(f"<{tag} {given}>")
        for name in ("href", "src", "action"):
            if given.get(name, "/").lower().startswith(("javascript:", "data:", "//")):
                self.strange.append(f"<{tag} {given}>")
