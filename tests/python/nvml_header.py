# SPDX-License-Identifier: MIT
"""Our own declarations of NVML against its header, as NVIDIA ships it for developers.

The C compiler compares every structure, member and constant of samplers/nvml.c with the header's;
the functions' parameters are compared by their number and kind.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sysconfig
import tempfile

import tap

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
SOURCE = (ROOT / "samplers/nvml.c").read_text(encoding="utf-8")

TYPES = {
    "nvml_field_value": "nvmlFieldValue_t",
    "nvml_utilization": "nvmlUtilization_t",
    "nvml_memory": "nvmlMemory_t",
    "nvml_memory_v2": "nvmlMemory_v2_t",
    "nvml_pci_info": "nvmlPciInfo_t",
    "nvml_process": "nvmlProcessInfo_t",
    "nvml_temperature": "nvmlTemperature_t",
}
# Member of ours: member of the header's.
MEMBERS = {
    "nvml_field_value": {
        "id": "fieldId",
        "scope": "scopeId",
        "timestamp_us": "timestamp",
        "latency_us": "latencyUsec",
        "type": "valueType",
        "status": "nvmlReturn",
        "value": "value",
    },
    "nvml_utilization": {"gpu": "gpu", "memory": "memory"},
    "nvml_memory": {"total": "total", "free": "free", "used": "used"},
    "nvml_memory_v2": {
        "version": "version",
        "total": "total",
        "reserved": "reserved",
        "free": "free",
        "used": "used",
    },
    "nvml_pci_info": {"id": "busId", "legacy_id": "busIdLegacy", "bus": "bus"},
    "nvml_process": {
        "pid": "pid",
        "bytes": "usedGpuMemory",
        "gpu_instance": "gpuInstanceId",
        "compute_instance": "computeInstanceId",
    },
    "nvml_temperature": {"version": "version", "sensor": "sensorType", "celsius": "temperature"},
}
FIELDS = {
    "FIELD_TOTAL_ENERGY": "NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "FIELD_POWER_AVERAGE": "NVML_FI_DEV_POWER_AVERAGE",
    "FIELD_POWER_INSTANT": "NVML_FI_DEV_POWER_INSTANT",
}
VIOLATIONS = {
    "power": "NVML_FI_DEV_PERF_POLICY_POWER",
    "thermal": "NVML_FI_DEV_PERF_POLICY_THERMAL",
    "sync_boost": "NVML_FI_DEV_PERF_POLICY_SYNC_BOOST",
    "board_limit": "NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT",
    "low_utilization": "NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION",
    "reliability": "NVML_FI_DEV_PERF_POLICY_RELIABILITY",
    "app_clocks": "NVML_FI_DEV_PERF_POLICY_TOTAL_APP_CLOCKS",
    "base_clocks": "NVML_FI_DEV_PERF_POLICY_TOTAL_BASE_CLOCKS",
    "sw_thermal": "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN",
    "hw_thermal": "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN",
    "hw_power_brake": "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN",
}
VALUE_TYPES = {
    "DOUBLE": "DOUBLE",
    "UINT": "UNSIGNED_INT",
    "ULONG": "UNSIGNED_LONG",
    "ULONGLONG": "UNSIGNED_LONG_LONG",
    "LONGLONG": "SIGNED_LONG_LONG",
    "INT": "SIGNED_INT",
    "USHORT": "UNSIGNED_SHORT",
}


def compiles(body: str) -> None:
    """Compile body beside our declarations and the header's; fail with what the compiler says."""
    header = list(pathlib.Path(sysconfig.get_path("purelib")).glob("nvidia/*/include/nvml.h"))
    cc = shutil.which(os.environ.get("CC", "cc"))
    if not header or not cc:
        raise tap.Skip("nvml.h or a C compiler is missing")
    ours = SOURCE[SOURCE.index("typedef struct nvml_device") : SOURCE.index("struct library {")]
    # Names that both have: ours are enumerators, the header's macros.
    ours = re.sub(r"\bNVML_(?=[A-Z])", "OUR_", ours)
    includes = ["<assert.h>", "<stddef.h>", "<stdint.h>", f'"{header[0]}"']
    text = "\n".join([*(f"#include {name}" for name in includes), ours, body, ""])
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "check.c"
        path.write_text(text)
        run = subprocess.run(
            [cc, "-std=gnu11", "-fsyntax-only", "-Wno-unused", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stderr


def test_every_structure_has_the_headers_layout() -> None:
    lines = []
    declared = set(re.findall(r"^struct (nvml_\w+) \{", SOURCE, re.M)) - {"nvml"}
    assert declared == set(TYPES), declared ^ set(TYPES)
    for ours, theirs in TYPES.items():
        lines.append(f'static_assert(sizeof(struct {ours}) == sizeof({theirs}), "{ours}");')
        for a, b in MEMBERS[ours].items():
            lines.append(
                f"static_assert(offsetof(struct {ours}, {a}) == offsetof({theirs}, {b}) && "
                f"sizeof(((struct {ours} *)0)->{a}) == sizeof((({theirs} *)0)->{b}), "
                f'"{ours}.{a}");'
            )
    for ours, revision, theirs in (
        ("nvml_memory_v2", 2, "nvmlMemory_v2"),
        ("nvml_temperature", 1, "nvmlTemperature_v1"),
    ):
        lines.append(
            f'static_assert(OUR_VERSION(struct {ours}, {revision}) == {theirs}, "{theirs}");'
        )
    compiles("\n".join(lines))


def test_every_constant_has_the_headers_value() -> None:
    lines = []
    codes = SOURCE[SOURCE.index("/* nvmlReturn_t") : SOURCE.index("enum nvml_value_type")]
    names = re.findall(r"NVML_(\w+) = \d+", codes)
    assert len(names) > 10
    for name in names:
        theirs = "NVML_SUCCESS" if name == "OK" else f"NVML_ERROR_{name}"
        lines.append(f'static_assert((int)OUR_{name} == (int){theirs}, "{name}");')
    for ours, theirs in VALUE_TYPES.items():
        lines.append(f'static_assert((int)OUR_{ours} == (int)NVML_VALUE_TYPE_{theirs}, "{ours}");')
    for name, theirs in FIELDS.items():
        number = re.search(rf"{name} = (\d+)", SOURCE).group(1)
        lines.append(f'static_assert({theirs} == {number}, "{name}");')
    numbers = dict((n, i) for i, n in re.findall(r'\{ (\d+), "(\w+)" \}', SOURCE))
    assert set(numbers) == set(VIOLATIONS), numbers
    for name, theirs in VIOLATIONS.items():
        lines.append(f'static_assert({theirs} == {numbers[name]}, "{name}");')
    clocks = re.search(r"enum \{ (CLOCK_GRAPHICS.*?) \};", SOURCE).group(1).split(", ")
    for i, name in enumerate(clocks):
        theirs = {"CLOCK_MEMORY": "CLOCK_MEM"}.get(name, name)
        lines.append(f'static_assert(NVML_{theirs} == {i}, "{name}");')
    lines.append('static_assert(NVML_TEMPERATURE_THRESHOLD_SLOWDOWN == 1, "slowdown");')
    compiles("\n".join(lines))


def test_every_function_takes_what_the_header_says() -> None:
    header = next(pathlib.Path(sysconfig.get_path("purelib")).glob("nvidia/*/include/nvml.h"), None)
    if not header:
        raise tap.Skip("nvml.h is missing")
    text = header.read_text(encoding="utf-8", errors="replace")
    table = SOURCE[SOURCE.index("#define NVML_FUNCTIONS") : SOURCE.index("enum function {")]
    rows = re.findall(r'X\(\w+, "([^"]+)", (?:true|false),\s*\\?\s*\((.*?)\)\)', table, re.S)
    assert len(rows) > 30, len(rows)
    for symbols, parameters in rows:
        name = symbols.split("|")[0]
        # The header declares the newest under a macro's name, and some only under the bare one.
        bare = re.sub(r"_v[0-9]+$", "", name)
        found = re.search(rf"nvmlReturn_t DECLDIR {bare}(?:_v\d+)?\s*\((.*?)\);", text, re.S)
        assert found, f"{name} is not in the header"
        theirs = [] if found.group(1).strip() == "void" else found.group(1).split(",")
        ours = [] if parameters.strip() == "void" else parameters.split(",")
        assert len(theirs) == len(ours), (name, theirs, ours)
        for a, b in zip(theirs, ours, strict=True):
            pointer = a.count("*") + ("nvmlDevice_t" in a)
            assert pointer == b.count("*") + ("nvml_device" in b), (name, a, b)
            assert ("char" in a) == ("char" in b), (name, a, b)
            assert ("long long" in a) == ("long long" in b), (name, a, b)


tap.run()
