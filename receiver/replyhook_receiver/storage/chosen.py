"""The storage that the settings name."""

from replyhook_receiver.config import Settings
from replyhook_receiver.places import Bucket
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.storage.objects import ObjectStorage


def storage_for(settings: Settings) -> Storage:
    """Where videos go. Raises ``ConfigurationError`` where it is an object store that cannot be talked to at all."""
    place = settings.storage_place
    local = LocalStorage(settings.storage_path)
    return ObjectStorage(place, local) if isinstance(place, Bucket) else local
