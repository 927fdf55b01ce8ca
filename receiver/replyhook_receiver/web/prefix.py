"""Where the receiver stands in the paths of requests: at the root, or under the prefix that it is mounted at."""

from starlette.types import Scope


def own_path(scope: Scope) -> str:
    """A request's path as the receiver's routes name it: without the prefix that the receiver is mounted under."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    own = path[len(root) :]
    return own if own[:1] in ("", "/") else path


def hide_path(scope: Scope, template: str) -> None:
    """Show ``template`` for the path, which holds a token, to whoever looks at the request from now on.

    uvicorn's access log does, with our answer's first bytes, and so may middleware of an application around ours.
    """
    scope["path"] = scope.get("root_path", "") + template
    scope["raw_path"] = scope["path"].encode("latin-1", "replace")
