"""The command line."""

import sys

from fast_channels.migration._command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
