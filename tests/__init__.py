"""Settings of the processes that run tests, and of those that they start.

They use one thread for numbers, as the program does: threads that wait for each other on few cores
cost more than they save. They write bytecode also where the environment forbids it, since hundreds
of processes would otherwise compile the program again.
"""

import os
import sys

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # numpy reads it when it is imported, which is later
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
