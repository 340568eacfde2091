"""The server extension: opens and seals for JupyterLab, and looks at every save."""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    from qnb.server.app import QnbServer

    return [{"module": "qnb.server", "app": QnbServer}]
