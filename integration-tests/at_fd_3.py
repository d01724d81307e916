"""Runs a Python program as systemd does with a socket unit: its listening socket is open as 3.

``python -m at_fd_3 PORT MODULE [ARGUMENT …]``
"""

import os
import socket
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)  # which dup2() has not done if it was 3 already
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])
