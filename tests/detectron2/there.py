"""Why tests of detectron2 are skipped where it is not installed."""

from casl.errors import DETECTRON2_INSTALL

MISSING = f"needs detectron2; to install it: {' && '.join(DETECTRON2_INSTALL)}"
