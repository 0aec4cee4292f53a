/* SPDX-License-Identifier: MIT
 *
 * Empty tables for the built-in engines that do not bring their own yet.
 */
#include "lib/engine/engine.h"

const struct llem_engine_class llem_engine_cpu = { .name = "cpu" };
