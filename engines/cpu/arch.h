/* SPDX-License-Identifier: MIT
 *
 * Architectures as data: which tensors a checkpoint has, and where each goes. Shapes and presence
 * follow from the place and the configuration.
 */
#ifndef LLEM_ENGINES_CPU_ARCH_H
#define LLEM_ENGINES_CPU_ARCH_H

/* Where a tensor goes: of the model up to CPU_HEAD, of a layer from CPU_NORM1 on. */
enum cpu_slot {
    CPU_EMBED,
    CPU_POSITIONS,
    CPU_NORM,
    CPU_NORM_BIAS,
    CPU_HEAD,
    CPU_NORM1,
    CPU_NORM1_BIAS,
    CPU_QKV,
    CPU_QKV_BIAS,
    CPU_OUT,
    CPU_OUT_BIAS,
    CPU_NORM2,
    CPU_NORM2_BIAS,
    CPU_UP,
    CPU_UP_BIAS,
    CPU_DOWN,
    CPU_DOWN_BIAS,
};

/* Which rows of its place: all, or a part of those that are stored apart. */
enum cpu_part { CPU_ALL, CPU_Q, CPU_K, CPU_V, CPU_GATE, CPU_UP_HALF };

struct cpu_tensor_row {
    const char *name; /* of a layer's tensor: what follows the layer's number; NULL ends the list */
    enum cpu_slot slot;
    enum cpu_part part;
};

struct cpu_arch {
    const char *prefix; /* of all but the head; left out by checkpoints of the bare model */
    const char *layers; /* between prefix and the layer's number */
    bool transposed;    /* matrices of layers are stored as (in, out) */
    const struct cpu_tensor_row *tensors;
};

extern const struct cpu_arch cpu_arch_llama, cpu_arch_gpt2;

#endif
