"""The forms a body may have been signed in, against PixVerse's four samples: what they write, and which are taken.

``python``, ``node``, ``go`` and ``java`` write as the samples do. ``REAL`` is what the samples themselves wrote when
they were run (CPython 3.11, Node 20.20, Go 1.26.8, OpenJDK 17; Java's numbers as doubles where they have a point).
"""

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replyhook.errors import NoMatchingKey, VerificationError
from replyhook.query_forms import _MAX_FIELDS, check_form_signature, query_forms


def escaped(text: str, kept: str) -> str:
    return quote(text, safe=f"{kept} ").replace("~", "~" if "~" in kept else "%7E").replace(" ", "+")


def decimal(number: float) -> tuple[str, str, int]:
    """A double's shortest digits: plainly, as a mantissa with a point, and its exponent."""
    shortest = Decimal(repr(float(number))).normalize()
    digits = "".join(map(str, shortest.as_tuple().digits))
    return format(shortest, "f"), f"{digits[0]}.{digits[1:]}", shortest.adjusted()


def node_number(number: float) -> str:
    plain, mantissa, exponent = decimal(number)
    return plain if -7 <= exponent < 21 else f"{mantissa.rstrip('.')}e{exponent:+d}"


def go_number(number: float) -> str:
    plain, mantissa, exponent = decimal(number)
    return plain if -4 <= exponent < 6 else f"{mantissa.rstrip('.')}e{exponent:+03d}"


def java_number(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    plain, mantissa, exponent = decimal(number)
    if -3 <= exponent < 7:
        return plain if "." in plain else f"{plain}.0"
    return f"{mantissa if mantissa[-1] != '.' else mantissa + '0'}E{exponent}"


def written(fields: dict[str, Any], *, is_sorted: bool, kept: str, null: str, number: Callable[[float], str]) -> str:
    def text(value: object) -> str:
        if value is None or isinstance(value, bool):
            return {None: null, True: "true", False: "false"}[value]
        return number(value) if isinstance(value, int | float) else str(value)

    names = sorted(fields) if is_sorted else fields
    return "&".join(f"{escaped(name, kept)}={escaped(text(fields[name]), kept)}" for name in names)


def python(fields: dict[str, Any]) -> str:
    return written(fields, is_sorted=False, kept="~", null="None", number=str)


def node(fields: dict[str, Any]) -> str:
    return written(fields, is_sorted=False, kept="*", null="null", number=node_number)


def go(fields: dict[str, Any]) -> str:
    return written(fields, is_sorted=True, kept="~", null="<nil>", number=go_number)


def java(fields: dict[str, Any]) -> str:
    return written(fields, is_sorted=True, kept="*", null="null", number=java_number)


SAMPLES: dict[str, Callable[[dict[str, Any]], str]] = {"python": python, "node": node, "go": go, "java": java}

ODD = json.dumps({"url": "~*a b+c&d=e/ü€😀%(x)!'.-_\"\\"}, ensure_ascii=False)
ODD_TAIL = "a+b%2Bc%26d%3De%2F%C3%BC%E2%82%AC%F0%9F%98%80%25%28x%29%21%27.-_%22%5C"

# The body: what each sample wrote. The last ones named are knowingly not taken.
REAL = [
    (
        '{"id":"1","status":1,"has_audio":true,"credits":100}',
        {
            "python": "id=1&status=1&has_audio=true&credits=100",
            "node": "id=1&status=1&has_audio=true&credits=100",
            "go": "credits=100&has_audio=true&id=1&status=1",
            "java": "credits=100&has_audio=true&id=1&status=1",
        },
        "",
    ),
    ('{"size":10.5}', dict.fromkeys(SAMPLES, "size=10.5"), ""),
    ('{"size":0.0001}', dict.fromkeys(SAMPLES, "size=0.0001") | {"java": "size=1.0E-4"}, "java"),
    ('{"size":10.0}', {"python": "size=10.0", "node": "size=10", "go": "size=10", "java": "size=10.0"}, "node go"),
    ('{"size":1e2}', {"python": "size=100.0", "node": "size=100", "go": "size=100", "java": "size=100.0"}, "node go"),
    ('{"size":1.50}', dict.fromkeys(SAMPLES, "size=1.5"), ""),  # by Python's text, since the sent one is another
    (
        '{"size":12345678.0}',
        {
            "python": "size=12345678.0",
            "node": "size=12345678",
            "go": "size=1.2345678e%2B07",
            "java": "size=1.2345678E7",
        },
        "node go java",
    ),
    ('{"credits":1500000}', dict.fromkeys(SAMPLES, "credits=1500000") | {"go": "credits=1.5e%2B06"}, "go"),
    (
        '{"size":1e300}',
        dict.fromkeys(SAMPLES, "size=1e%2B300") | {"java": "size=1.0E300"},
        "java",
    ),
    (
        ODD,
        {
            "python": f"url=~%2A{ODD_TAIL}",
            "node": f"url=%7E*{ODD_TAIL}",
            "go": f"url=~%2A{ODD_TAIL}",
            "java": f"url=%7E*{ODD_TAIL}",
        },
        "",
    ),
    (
        '{"size":null,"has_audio":false}',
        {
            "python": "size=None&has_audio=false",
            "node": "size=null&has_audio=false",
            "go": "has_audio=false&size=%3Cnil%3E",
            "java": "has_audio=false&size=null",
        },
        "",
    ),
    (
        '{"b":"2","a b~*":"1","B":"3","ä":""}',
        {
            "python": "b=2&a+b~%2A=1&B=3&%C3%A4=",
            "node": "b=2&a+b%7E*=1&B=3&%C3%A4=",
            "go": "B=3&a+b~%2A=1&b=2&%C3%A4=",
            "java": "B=3&a+b%7E*=1&b=2&%C3%A4=",
        },
        "",
    ),
]


@pytest.mark.parametrize(("body", "real", "refused"), REAL, ids=[body for body, _, _ in REAL])
def test_what_each_sample_writes_is_a_form_or_knowingly_none(body: str, real: dict[str, str], refused: str) -> None:
    forms = query_forms(body.encode())
    assert {name: write(json.loads(body)) for name, write in SAMPLES.items()} == real
    assert [name for name, form in real.items() if form not in forms] == refused.split()


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.text() | st.booleans() | st.none() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False).filter(
            lambda number: abs(number) < 1e300
        ),
        min_size=1,
        max_size=_MAX_FIELDS,
    )
)  # fmt: skip
def test_what_the_python_sample_writes_is_always_a_form(fields: dict[str, Any]) -> None:
    forms = query_forms(json.dumps(fields).encode())
    assert python(fields) in forms
    assert 1 <= len(forms) <= 12
    assert len(set(forms)) == len(forms)


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.text() | st.booleans() | st.integers(-999_999, 999_999),
        min_size=1,
        max_size=_MAX_FIELDS,
    )
)
def test_without_points_and_large_numbers_every_sample_writes_a_form(fields: dict[str, Any]) -> None:
    forms = query_forms(json.dumps(fields).encode())
    for write in SAMPLES.values():
        assert write(fields) in forms


def test_there_are_never_more_than_a_few_forms() -> None:
    assert len(query_forms(b'{"b":1.50,"a":null,"c":"~*"}')) == 12
    assert query_forms(b'{"id":"1"}') == ("id=1",)


def test_a_number_is_the_text_it_was_sent_as_and_not_another_of_the_same_worth() -> None:
    assert "size=10.50" in query_forms(b'{"size":10.50}')
    assert "size=10.50" not in query_forms(b'{"size":10.5}')
    assert "id=9007199254740993" in query_forms(b'{"id":9007199254740993}')
    assert "id=9007199254740992" not in query_forms(b'{"id":9007199254740993}')
    assert query_forms(b'{"n":-0}') == ("n=-0", "n=0")


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"id=1"', b"1", b"{}", b"{ }", b"{", b"\xff\xfe{}", b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32"), b'{"a":"\xff"}', b'{"a":"\\ud800"}', b'{"\\udfff":1}',
        b'{"a":"\x01"}', b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"a":{}}', b'{"a":[]}', b'{"a":{"b":1,"b":2}}',
        b'[{"a":1}]', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":-1e999}',
        b'{"a":' + b"9" * 65 + b"}", b'{"a":' + b"9" * 5000 + b"}", b'{"a":0.' + b"1" * 70 + b"}", b'{"a":01}',
        b'{"a":1}{}', b'{"a":1,}', b"[" * 60_000, b'{"a":' * 10_000, b'{"a":"' + b"x" * 65_536 + b'"}',
        json.dumps(dict.fromkeys(map(str, range(65)), 1)).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_what_has_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(VerificationError):
        query_forms(body)


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode()))
def test_any_bytes_have_forms_or_are_refused(body: bytes) -> None:
    with contextlib.suppress(VerificationError):
        assert query_forms(body)


def test_any_secret_and_any_form_will_do_and_nothing_else() -> None:
    def mac(secret: str, text: str) -> str:
        return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()

    def check(signature: str, secrets: list[str]) -> None:
        check_form_signature(b'{"b":"~","a":null}', head="t\nn\n", signature=signature, secrets=secrets)

    for form in ("b=~&a=null", "a=%3Cnil%3E&b=~", "b=~&a=None", "a=null&b=%7E"):
        check(mac("geheim", f"t\nn\n{form}"), ["old", "geheim", "\udcff"])
        for secrets in ([], [""], ["old"], ["Geheim"], ["geheim "]):
            with pytest.raises(NoMatchingKey):
                check(mac("geheim", f"t\nn\n{form}"), secrets)
    wrong = [mac("geheim", "t\nn\nb=~&a="), mac("", "t\nn\nb=~&a=null"), mac("geheim", "b=~&a=null"), "", "é", "\ud800"]
    for signature in wrong:
        with pytest.raises(NoMatchingKey):
            check(signature, ["geheim", ""])
