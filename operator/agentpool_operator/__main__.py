"""``python -m agentpool_operator``"""

import os
import sys

from agentpool_operator.main import run

sys.exit(run(dict(os.environ)))
