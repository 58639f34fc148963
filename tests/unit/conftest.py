"""The unit tests share one small helper, found beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
