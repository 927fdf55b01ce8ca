"""The document as a page: plain HTML, no script, one style sheet of our own."""

from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from typing import Any

_METHODS = ("get", "put", "post", "patch", "delete")
_REF = "#/components/schemas/"


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    base = document["servers"][0]["url"].rstrip("/")
    operations = [
        (path, method, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    tags = list(dict.fromkeys(["jobs", *(each["tags"][0] for _, _, each in operations)]))
    operations.sort(key=lambda each: tags.index(each[2]["tags"][0]))
    groups = [(tag, list(each)) for tag, each in groupby(operations, key=lambda each: each[2]["tags"][0])]
    return "".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{escape(info["title"])}</title><link rel="stylesheet" href="{escape(base)}/docs/style.css">',
            f"</head><body><header><h1>{escape(info['title'])}</h1>",
            f'<p>Version {escape(info["version"])} · <a href="{escape(base)}/openapi.json">openapi.json</a></p>',
            f"<p>{_marked(info['description'])}</p></header>",
            f'<nav aria-label="Routes">{"".join(_contents(tag, each) for tag, each in groups)}</nav><main>',
            *(_group(tag, each) for tag, each in groups),
            _models(document["components"]["schemas"]),
            "</main></body></html>",
        )
    )


def _contents(tag: str, operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    links = "".join(
        f'<li><a href="#{escape(each["operationId"])}"><code>{method.upper()} {escape(path)}</code></a></li>'
        for path, method, each in operations
    )
    return f"<h2>{escape(tag)}</h2><ul>{links}</ul>"


def _group(tag: str, operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    articles = "".join(_operation(path, method, each) for path, method, each in operations)
    return f"<section><h2>{escape(tag)}</h2>{articles}</section>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    scope = operation.get("x-scope")
    needs = f"Needs a key with the scope <code>{escape(scope)}</code>." if scope else "Open: no key is asked for."
    body = operation.get("requestBody", {})
    content = body.get("content", {}).get("application/json")
    optional = "" if body.get("required") else ", may be left out"
    taken = f"<p>Body{optional}: {_type(content['schema'])}</p>" if content else ""
    return (
        f'<article id="{escape(operation["operationId"])}">'
        f'<h3><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h3>'
        f"<p>{escape(operation['summary'])}. {needs}</p>"
        f"{_parameters(operation.get('parameters', []))}{taken}{_answers(operation['responses'])}</article>"
    )


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"<code>{escape(each['name'])}</code>",
            escape(each["in"]) + (", needed" if each["required"] else ""),
            _type(each["schema"]),
            _marked(each.get("description", "")),
        )
        for each in parameters
    ]
    return _table(("parameter", "in", "type", ""), rows) if rows else ""


def _answers(responses: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for status, each in responses.items():
        content = each.get("content", {})
        kinds = ", ".join(
            _type(media["schema"]) if media.get("schema") else escape(name) for name, media in content.items()
        )
        rows.append((f"<code>{status}</code>", _marked(each["description"]), kinds or "no body"))
    return _table(("status", "", "answer"), rows)


def _models(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    return f"<section><h2>models</h2>{''.join(_model(name, each) for name, each in schemas.items())}</section>"


def _model(name: str, schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(member)}</code>",
            "always" if member in needed else "",
            _type(each),
            _marked(each.get("description", "")),
        )
        for member, each in schema.get("properties", {}).items()
    ]
    inside = _table(("member", "", "type", ""), rows) if rows else f"<p>{_type(schema)}</p>"
    about = f"<p>{_marked(schema['description'])}</p>" if schema.get("description") else ""
    return f'<article id="model-{escape(name)}"><h3>{escape(name)}</h3>{about}{inside}</article>'


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_REF))
        return f'<a href="#model-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    limits = [f"{word} {schema[name]}" for name, word in _LIMITS.items() if name in schema]
    return escape(" ".join([schema.get("format", kind), *([f"({', '.join(limits)})"] if limits else [])]))


_LIMITS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "at least",
    "maxLength": "at most",
    "maxItems": "at most",
    "default": "usually",
}


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{heading}</th>' if heading else "<td></td>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _marked(text: str) -> str:
    """Text with its `code` shown as such."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
