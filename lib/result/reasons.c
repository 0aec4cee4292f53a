/* SPDX-License-Identifier: MIT
 *
 * The one list of reason codes: why a number is missing or doubtful, or why a step was skipped. The
 * sentence says what is so, the hint what the user can do about it.
 * Append only: codes stand in results that people keep.
 */
#include "lib/result/reasons.h"

#include <string.h>

/* clang-format off */
const struct llem_reason llem_reasons[] = {
    /* Why there is no value. */
    { "no_sensor", "This machine has no sensor that llem can read for it.",
      "See `llem config` for the sensors that were looked for." },
    { "no_permission", "The sensor is there, but this user may not read it.",
      "`llem config` shows the command that unlocks it." },
    { "not_supported", "This device or driver does not offer it.",
      "Newer drivers may; `llem config` shows what was found." },
    { "not_requested", "The configuration does not ask for it.",
      "Turn it on in the section `measurement`." },
    { "not_applicable", "It has no meaning for this kind of measurement.",
      "Nothing is wrong." },
    { "no_temperature", "No temperature sensor of the measured devices can be read.",
      "Load the kernel's sensor driver (coretemp, k10temp) or update the GPU driver." },
    { "no_baseline", "No idle power was measured, so nothing can be subtracted.",
      "Set measurement.baseline.enabled to true." },
    { "no_window", "The measurement window was never opened.",
      "See the events of the recording and worker.log for what stopped it." },
    { "no_tokens", "No tokens were counted, so nothing can be divided by them.",
      "Check the prompts and task.max_output_tokens." },
    { "engine_does_not_report", "The engine does not report it.",
      "Another engine, or a newer version of this one, may." },
    { "unknown_architecture", "The model's dimensions are not known well enough to count its operations.",
      "Give a model directory with a config.json that names them." },
    { "estimated_only", "There is no measured value, only an estimate, which stands in energy_estimated_j.",
      "Unlock a sensor: see `llem config`." },
    { "device_lost", "The device stopped answering inside the window.",
      "Look for Xid errors in the kernel's log and measure again." },
    { "counter_reset", "The energy counter went back to a smaller value inside the window.",
      "Was the driver reloaded? Measure again." },
    { "counter_stuck", "The energy counter did not move although the device was at work.",
      "Reload the driver, or choose another sensor with measurement.energy_sampler." },
    { "counter_jump", "The counter moved by more energy than the device can take in that time.",
      "Measure again; if it stays, choose another sensor." },
    { "sensor_garbage", "The sensor gave values that cannot be.",
      "Measure again; if it stays, update the driver." },
    { "counter_kind_unknown", "It could not be shown whether the counter adds up all energy or samples it.",
      "A longer run with a load that varies tells them apart." },
    { "sensor_aliased", "The sensor samples only part of the time, in step with the load.",
      "Change the batch size or sequence length a little, or use a sensor that integrates." },
    { "reading_gap", "The sensor was not read for too long inside the window.",
      "Leave a CPU core free for the sampler." },
    { "tail_too_short", "The readings end too soon after the window.",
      "Do not interrupt the run while it waits after the last batch." },
    { "head_too_short", "The readings begin too late before the window.",
      "Do not shorten the time before the window." },
    { "window_too_short", "The window is shorter than the sensor can resolve.",
      "Use more prompts or longer sequences." },
    { "too_few_samples", "There are too few readings to compute it.",
      "Use more prompts or longer sequences." },

    /* Why a value is doubtful. */
    { "short_measurement_duration", "The window is shorter than 10 s, so start and end weigh much.",
      "Use more prompts or longer sequences." },
    { "gpu_persistence_mode_off", "Persistence mode is off, so the GPU's power state may vary between runs.",
      "Run `sudo nvidia-smi -pm 1`." },
    { "thermal_drift_detected", "The temperature changed by more than 10 degrees inside the window.",
      "Raise measurement.warmup.thermal_floor_seconds or check the cooling." },
    { "nvml_low_sample_count", "Fewer than 10 readings fell into the window.",
      "Use more prompts or longer sequences." },
    { "idle_drift", "The idle power differs much before and after the run.",
      "Stop other work on the machine and let it cool before the next run." },
    { "not_steady", "The first and the last third of the window differ in power by more than 5 %.",
      "Warm up longer, or use more prompts." },
    { "throttled_thermal", "The device slowed down because it was too hot or a brake was pulled.",
      "Improve the cooling or lower the power limit." },
    { "throttled_power", "The device ran at its power limit for part of the window.",
      "That is a property of the setup; raise the limit if it is not meant." },
    { "foreign_process", "Another process used a measured device.",
      "Stop it, or use another device." },
    { "foreign_cpu_load", "Other processes used the CPU during the window.",
      "Stop other work on the machine." },
    { "shared_node", "Other jobs may have shared this machine.",
      "Ask the scheduler for the whole node." },
    { "mig_shared_counter", "The energy counter belongs to the whole GPU, not to the MIG instance.",
      "Leave the other instances idle, or turn MIG off." },
    { "clock_unaligned", "The worker's clock could not be tied to the host's closely enough.",
      "Run the worker on this host." },
    { "clock_stepped", "The wall clock was set during the run; durations are not touched by that.",
      "Let the time service settle before long runs." },
    { "scope_mismatch", "The two values cover different devices.",
      "Compare results with the same energy_scope." },
    { "phases_collinear", "Prefill and decode cannot be told apart in these windows.",
      "Measure windows that differ in their mix." },
    { "sensors_disagree", "Counter and power readings differ by more than their uncertainties.",
      "Measure again, and see `agreement` in result.json." },
    { "negative_adjusted_energy", "The idle energy is larger than the measured one, so the difference is negative.",
      "The load is too small to tell from idle; the value is kept as it is." },
    { "no_idle_edges", "The device was not idle around the window, so its edges are less sharp.",
      "Measure on an idle device, or over a longer time." },
    { "warmup_not_converged", "The warm-up ended before its latencies settled.",
      "Raise measurement.warmup.max_prompts." },
    { "prompts_truncated", "Some prompts were cut to task.max_input_tokens.",
      "Raise task.max_input_tokens if they should be whole." },
    { "late_deadlines", "The sampler missed many of its deadlines.",
      "Leave a CPU core free for the sampler." },
    { "gain_not_calibrated", "The sensor's gain is known only from published boards of its kind.",
      "Give a calibration, or compare only runs on the same board." },
    { "quick", "Baseline and waits were shortened by --quick.",
      "Run without --quick for numbers to keep." },
    { "sensor_faked", "The readings come from a fake sensor named by an LLEM_ variable.",
      "Unset LLEM_NVML_LIBRARY and LLEM_SYSFS." },
    { "gain_unknown", "Nothing is known of this sensor's systematic error, so the range leaves it out.",
      "Compare only runs on the same machine." },
    { NULL, NULL, NULL },
};
/* clang-format on */

const struct llem_reason *llem_reason_find(const char *code)
{
    for (const struct llem_reason *r = llem_reasons; code && r->code; r++)
        if (strcmp(r->code, code) == 0)
            return r;
    return NULL;
}
