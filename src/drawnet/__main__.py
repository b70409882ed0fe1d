"""`python -m drawnet`."""

import sys

from drawnet.cli import main

sys.exit(main())
