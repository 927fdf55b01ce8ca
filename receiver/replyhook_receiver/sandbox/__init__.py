"""The sandbox: imitations of the providers that really extend videos, call back, retry and misbehave on demand."""

from replyhook_receiver.sandbox.app import create_sandbox, enter_webhooks, sandbox_settings
from replyhook_receiver.sandbox.faults import Fault
from replyhook_receiver.sandbox.options import SandboxOptions

__all__ = ["Fault", "SandboxOptions", "create_sandbox", "enter_webhooks", "sandbox_settings"]
