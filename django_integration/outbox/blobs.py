"""Where parts that are too large for a row are stored."""

from __future__ import annotations

from django_integration.outbox.configuration import outbox_settings
from mailbackends.outbox import BlobStore, DirectoryBlobs

__all__ = ["blob_store"]


def blob_store() -> BlobStore | None:
    """The directory in the setting ``blobs``; None if all parts stay in their rows."""
    path = outbox_settings().blobs
    return None if path is None else DirectoryBlobs(path)
