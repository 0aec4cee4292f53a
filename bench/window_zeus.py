# SPDX-License-Identifier: MIT
"""CPU time of ZeusMonitor's begin_window and end_window on every GPU, in microseconds."""

import sys
import time
import warnings

from zeus.monitor import ZeusMonitor

rounds = int(sys.argv[1])
warnings.simplefilter("ignore")  # windows this short end within one tick of the counter
monitor = ZeusMonitor(approx_instant_energy=False)
for _ in range(20):
    monitor.begin_window("w", sync_execution=False)
    monitor.end_window("w", sync_execution=False)
begin = time.process_time()
for _ in range(rounds):
    monitor.begin_window("w", sync_execution=False)
    monitor.end_window("w", sync_execution=False)
print(f"{1e6 * (time.process_time() - begin) / rounds:.3f}", len(monitor.gpu_indices))
