"""What ``import replyhook`` gives, and what it does not cost."""

import inspect
import subprocess
import sys

import replyhook

HEAVY = ("starlette", "uvicorn", "aiosqlite", "sqlite3", "av", "nacl", "pydantic", "replyhook_receiver")
HTTPX_TAKES_IF_THERE = ("click", "rich", "pygments")  # for httpx's own command line


def test_all_names_are_listed_sorted_and_there() -> None:
    assert replyhook.__all__ == sorted(replyhook.__all__)
    submodules = {name for name, value in vars(replyhook).items() if inspect.ismodule(value)}
    public = {name for name in vars(replyhook) if not name.startswith("_")} - submodules
    assert public == set(replyhook.__all__)


def test_every_public_name_is_documented() -> None:
    for name in replyhook.__all__:
        public = getattr(replyhook, name)
        assert public.__doc__, name
        methods = inspect.getmembers(public, inspect.isfunction) if inspect.isclass(public) else []
        for method, function in methods:
            if not method.startswith("_") and function.__qualname__.startswith(name):
                assert function.__doc__, f"{name}.{method}"


def test_the_plain_and_the_async_client_have_the_same_methods() -> None:
    for plain, other in ((replyhook.Client, replyhook.AsyncClient), (replyhook.JobHandle, replyhook.AsyncJobHandle)):
        listed = [
            {
                name: [
                    str(each)
                    for each in inspect.signature(method).parameters.values()
                    if each.name != "on_event"  # it may be awaitable in the one only
                ]
                for name, method in inspect.getmembers(kind, callable)
                if not name.startswith("_")
            }
            for kind in (plain, other)
        ]
        assert listed[0] == listed[1]


def test_importing_the_library_loads_nothing_heavy() -> None:
    program = f"""
import sys
for name in {HTTPX_TAKES_IF_THERE!r}:
    sys.modules[name] = None  # as if it were not installed
import replyhook
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
assert replyhook.Client
print("light")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("light\n", "")


def test_a_fal_callback_is_the_first_to_need_the_signature_library() -> None:
    program = """
import sys
from replyhook.providers import PROVIDERS, make_provider
import replyhook.signatures
for name in PROVIDERS:
    make_provider(name).capabilities
assert "nacl" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
