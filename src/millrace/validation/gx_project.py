"""Suites in the folder of a Great Expectations project: `gx/`, where `gx/expectations/orders.json` is `gx/orders`."""

from __future__ import annotations

from pathlib import Path

from millrace.core.errors import DataError

_SUITES = "expectations"
_SHOWN = 12


def suite_file(path: str | Path) -> Path:
    """The JSON file of the suite that `path` names: itself, or one in a GX project folder.

    Parameters
    ----------
    path : str or Path
        A file; a project folder with one suite; or a project folder and a suite's name, ``gx/orders``. GX keeps the
        suite ``shop.orders`` of its versions 0.x in ``expectations/shop/orders.json``.

    Raises
    ------
    DataError
        VALID-51 for a folder that does not say which suite is meant.
    """
    file = Path(path)
    if file.is_dir():
        return _only_one(file)
    if file.exists() or file.suffix == ".json" or not (file.parent / _SUITES).is_dir():
        return file
    suites = file.parent / _SUITES
    named = suites / f"{file.name}.json"
    nested = suites.joinpath(*file.name.split(".")).with_suffix(".json")
    return nested if nested.exists() and not named.exists() else named


def _only_one(folder: Path) -> Path:
    suites = folder / _SUITES if (folder / _SUITES).is_dir() else folder
    # GX keeps a marker of its own, `.ge_store_backend_id`, beside the suites.
    found = sorted(file for file in suites.rglob("*.json") if not file.name.startswith("."))
    if len(found) == 1:
        return found[0]
    if suites == folder:
        names = [str(file.relative_to(suites)) for file in found]
    else:
        names = [".".join(file.relative_to(suites).with_suffix("").parts) for file in found]
    shown = names[:_SHOWN] + (["..."] if len(names) > _SHOWN else [])
    raise DataError(
        "VALID-51",
        f"the folder '{folder.resolve().name}' holds {len(found)} suites",
        where=str(suites),
        why=f"one of: {', '.join(shown)}" if names else "there is no .json file in it",
        fix=f"name one: {folder / (names[0] if names else 'NAME')}",
    )
