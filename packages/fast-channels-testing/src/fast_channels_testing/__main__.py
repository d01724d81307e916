"""``python -m fast_channels_testing report`` says what a channel layer supports."""

import sys

from fast_channels_testing._report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
