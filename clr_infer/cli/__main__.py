"""``python -m clr_infer.cli``."""

import sys

from . import main

sys.exit(main())
