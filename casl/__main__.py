"""`python -m casl` is `casl`."""

import sys

from casl.cli import main

sys.exit(main())
