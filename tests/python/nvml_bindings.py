# SPDX-License-Identifier: MIT
"""The fake NVML through NVIDIA's own Python bindings, to which it must look like the real one."""

import os
import pathlib
import sys
import tempfile
import time

import tap

FAKES = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "tests/fakes"
SCENARIO = """
seed 4
driver 560.28.03
board h100 2
  gain 1
  load idle 250
  process 4242 123456
board k40
"""

if os.environ.get("LD_LIBRARY_PATH") != str(FAKES):
    # The loader reads its path at the start of a process.
    directory = tempfile.mkdtemp()
    scenario = pathlib.Path(directory) / "scenario"
    scenario.write_text(SCENARIO)
    os.environ["LD_LIBRARY_PATH"] = str(FAKES)
    os.environ["LLEM_FAKE_NVML_SCENARIO"] = str(scenario)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import pynvml  # noqa: E402

pynvml.nvmlInit()


def test_it_shows_the_boards_of_the_scenario() -> None:
    assert pynvml.nvmlSystemGetDriverVersion() == "560.28.03"
    assert pynvml.nvmlDeviceGetCount() == 3
    h = pynvml.nvmlDeviceGetHandleByIndex(1)
    uuid = pynvml.nvmlDeviceGetUUID(h)
    assert uuid == "GPU-fa4e0000-0000-0000-0000-000000000001", uuid
    assert pynvml.nvmlDeviceGetName(h) == "NVIDIA H100 80GB HBM3"
    assert pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByUUID(uuid)) == uuid
    assert pynvml.nvmlDeviceGetCudaComputeCapability(h) == (9, 0)
    assert pynvml.nvmlDeviceGetArchitecture(h) == pynvml.NVML_DEVICE_ARCH_HOPPER
    pci = pynvml.nvmlDeviceGetPciInfo(h)
    bus = pci.busId if isinstance(pci.busId, str) else pci.busId.decode()
    assert bus == "00000000:02:00.0", bus
    assert pynvml.nvmlDeviceGetMigMode(h) == [0, 0]


def test_its_fields_are_read_as_the_real_ones_are() -> None:
    h = pynvml.nvmlDeviceGetHandleByIndex(0)
    ids = [
        pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
        pynvml.NVML_FI_DEV_POWER_INSTANT,
        pynvml.NVML_FI_DEV_POWER_AVERAGE,
        999999,
    ]
    energy, instant, average, nothing = pynvml.nvmlDeviceGetFieldValues(h, ids)
    assert energy.nvmlReturn == instant.nvmlReturn == average.nvmlReturn == 0
    assert nothing.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert energy.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    assert instant.value.uiVal == average.value.uiVal == 250000
    assert abs(energy.timestamp / 1e6 - time.time()) < 5
    assert pynvml.nvmlDeviceGetPowerUsage(h) == 250000
    begin = pynvml.nvmlDeviceGetTotalEnergyConsumption(h)
    time.sleep(1)
    spent = pynvml.nvmlDeviceGetTotalEnergyConsumption(h) - begin
    assert 225000 <= spent <= 1000 * 250 * 2, spent


def test_a_board_without_counter_says_so() -> None:
    h = pynvml.nvmlDeviceGetHandleByIndex(2)
    try:
        pynvml.nvmlDeviceGetTotalEnergyConsumption(h)
    except pynvml.NVMLError_NotSupported:
        return
    raise AssertionError("it has one")


def test_memory_temperature_clocks_and_processes_have_their_layout() -> None:
    h = pynvml.nvmlDeviceGetHandleByIndex(0)
    memory = pynvml.nvmlDeviceGetMemoryInfo(h, version=pynvml.nvmlMemory_v2)
    assert memory.total == 80 * 2**30
    assert memory.used == 123456
    assert memory.total == memory.used + memory.free + memory.reserved
    assert 30 <= pynvml.nvmlDeviceGetTemperature(h, pynvml.NVML_TEMPERATURE_GPU) <= 60
    assert pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_MEM) == 2619
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(h)
    assert [(p.pid, p.usedGpuMemory) for p in processes] == [(4242, 123456)]
    assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(h) == pynvml.nvmlClocksEventReasonGpuIdle
    assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(h) == [350000, 700000]


tap.run()
