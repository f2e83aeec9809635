"""Finds the inventories of other projects' documentation that can be fetched now.

Without a network the build has no links to them, and no warnings about that.
"""

from __future__ import annotations

import tempfile
import urllib.request
from pathlib import Path

_PATIENCE = 5.0
"""Seconds for each inventory. Arbitrary."""


def reachable_inventories(sites: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Fetch `objects.inv` of each site, and return Sphinx's mapping of those that answered.

    Args:
        sites: the addresses of documentation, by a short name.
    """
    folder = Path(tempfile.mkdtemp(prefix="inventories-"))
    mapping = {}
    for name, address in sites.items():
        try:
            url = f"{address}/objects.inv"
            with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 (https)
                inventory = answer.read()
        except OSError as error:
            print(f"no links to {address}: {error}")
            continue
        file = folder / f"{name}.inv"
        file.write_bytes(inventory)
        mapping[name] = (address, str(file))
    return mapping
