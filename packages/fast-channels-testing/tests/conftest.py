import sys
from pathlib import Path

# --import-mode=importlib leaves it to us to make helpers importable.
sys.path.append(str(Path(__file__).parent))
