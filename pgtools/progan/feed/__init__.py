"""The real images of training, read ahead of the step that wants them, in an order that the seed names."""

from pgtools.progan.feed.feed import Feed, FeedSettings
from pgtools.progan.feed.transfer import Fetched

__all__ = ["Feed", "FeedSettings", "Fetched"]
