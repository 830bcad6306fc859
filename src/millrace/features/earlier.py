"""Earlier definitions of views that something still reads: they are fed beside the present ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from millrace.core.errors import DataError
from millrace.features.view import FeatureView

logger = logging.getLogger("millrace.features")


def choose_earlier(
    earlier: Iterable[FeatureView], present: Mapping[str, FeatureView], views: Sequence[FeatureView] | None
) -> list[FeatureView]:
    """The earlier definitions of `views`, and gone ones of their sources, that lie elsewhere in the online store.

    Parameters
    ----------
    present : mapping of name to FeatureView
        All present definitions.
    views : sequence of FeatureView or None
        None: all of them.
    """
    names, sources = ({view.name for view in views or ()}, {view.source.name for view in views or ()})
    known = {view.storage_id() for view in present.values()}
    found = {
        view.storage_id(): view
        for view in earlier
        if views is None or view.name in names or (view.name not in present and view.source.name in sources)
    }
    return [view for storage_id, view in found.items() if storage_id not in known]


@contextmanager
def left_out_alone(view: FeatureView) -> Iterator[None]:
    """Rows that an earlier definition cannot take, for want of a column, must not keep the present one waiting."""
    try:
        yield
    except DataError as error:
        logger.warning("the earlier definition %s, which a model reads, was left out: %s", view.storage_id(), error)
