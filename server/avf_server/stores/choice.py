"""Which store is at an address: schemes become plug-ins here, one file a store."""

from typing import cast

from avf_core.plugins import available, plugin
from avf_server import stores
from avf_server.stores.base import Plugin


def of_address(url: str) -> Plugin:
    """The plug-in that has the scheme of this address. Raises ValueError with the schemes there are."""
    scheme = url.partition("://")[0]
    found = [cast(Plugin, plugin(stores, name)) for name in available(stores)]
    for store in found:
        if scheme in store.SCHEMES:
            return store
    known = ", ".join(f"{scheme}://" for store in found for scheme in store.SCHEMES)
    raise ValueError(f"expected one of {known}")
