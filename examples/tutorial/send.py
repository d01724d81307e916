"""Notifies everybody who has the page open: ``python send.py "The coffee is ready"``.

A script has no event loop and needs none: it makes blocking calls, over the same Redis.
"""

import argparse
import os
import sys

from fast_channels.exceptions import ChannelFull, ChannelLayerUnavailable
from fast_channels.layers import get_sync_channel_layer
from layers import setup_layers
from page import now


def main() -> None:
    parser = argparse.ArgumentParser(description="Notify everybody who has the page open.")
    parser.add_argument("text", help="at most 200 characters")
    parser.add_argument("--warning", action="store_true", help="as a warning")
    options = parser.parse_args()
    if not 1 <= len(text := options.text.strip()) <= 200:
        parser.error("the text needs 1 to 200 characters")
    if not os.environ.get("REDIS_URL"):
        sys.exit(
            "REDIS_URL is not set, so this script has no way to the application. Start that with "
            "Redis, and set REDIS_URL here to the same address, such as redis://localhost:6379."
        )
    setup_layers()
    level = "warning" if options.warning else "info"
    details = {"text": text, "level": level, "source": "script", "at": now()}
    message = {"type": "notification", **details}
    counted = {"type": "counted", "name": "notifications"}
    try:
        get_sync_channel_layer("notifications").group_send("notifications", message)
        get_sync_channel_layer("analytics").send("events", counted)
    except ChannelFull:
        pass  # there is no counter
    except ChannelLayerUnavailable as error:
        sys.exit(f"Nobody was notified: {error}")


if __name__ == "__main__":
    main()
